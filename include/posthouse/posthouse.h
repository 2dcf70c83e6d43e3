/* posthouse.h - all that a plugin needs.  Start with PLUGINS.md. */
#ifndef POSTHOUSE_H
#define POSTHOUSE_H
#include <posthouse/abi.h>
#include <posthouse/types.h>
#include <posthouse/option.h>
#include <posthouse/reply.h>
#include <posthouse/hook.h>
#include <posthouse/plugin.h>
#include <posthouse/command.h>
#include <posthouse/service.h>
#include <posthouse/provider.h>
#include <posthouse/store.h>
#endif
