/* addr.h - socket addresses and errno, translated.  Private to core/net. */
#ifndef NET_ADDR_H
#define NET_ADDR_H

#include <sys/socket.h>
#include <posthouse/types.h>

/* PH_E* for an errno of a socket call. */
int  addr_errno(int err);
/* v4-mapped v6 becomes v4; anything but IP becomes family 0. */
void addr_from_sockaddr(const struct sockaddr_storage *sa, struct ph_addr *out);
socklen_t addr_to_sockaddr(const struct ph_addr *a, struct sockaddr_storage *out);

#endif
