/*
 * toys.h - plugins that stand in for transport security and logins in dialogues: what they
 * do can be read off a script.
 *
 * toy-tls: a handshake of a line each way, then every octet with its top bit flipped.
 *   "toy"           a client without certificate     "toy NAME"     a verified one
 *   "toy ?NAME"     one that is not verified         "toy !"        refused: "unknown CA"
 * An octet of TOY_GOODBYE among the ciphertext is the end.
 *
 * toy-auth: alice/wonderland and bob/builder, by
 *   PLAIN, LOGIN    give the password away
 *   TOY-PLUS        inside TLS only; the response is the name, then "*NAME*" is right
 *   EXTERNAL        who showed a certificate
 *   NTLM            prompts with text, then as TOY-PLUS
 *   SLOW            answers a second later; "never" is never answered, "late" is too late
 *   BUSY            cannot tell now
 */
#ifndef TESTS_TOYS_H
#define TESTS_TOYS_H

#define TOY_GOODBYE '\x15'

#endif
