/*
 * client.h - XOAUTH2 and OAUTHBEARER towards a smart host.
 */
#ifndef OAUTH_CLIENT_H
#define OAUTH_CLIENT_H

#include "oauth.h"

int oauth_client_provide(struct ph_setup *setup);

#endif
