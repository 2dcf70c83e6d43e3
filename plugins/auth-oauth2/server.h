/*
 * server.h - OAUTHBEARER and XOAUTH2 of clients.
 */
#ifndef OAUTH_SERVER_H
#define OAUTH_SERVER_H

#include "verify.h"

void oauth_server_check(struct ph_setup *setup, const struct oauth_cfg *cfg);
int  oauth_server_setup(struct ph_setup *setup, struct oauth_cfg *cfg);

#endif
