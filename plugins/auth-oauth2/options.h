/* options.h - the rows of the instance's options. */
#ifndef OAUTH_OPTIONS_H
#define OAUTH_OPTIONS_H

#include <posthouse/posthouse.h>

extern const struct ph_option oauth_options[];

#endif
