/*
 * user_file.h - changing one line of the users file, so that whoever reads it meanwhile sees the
 * former file or the new one, and a crash leaves one of the two.
 */
#ifndef AUTH_BASIC_USER_FILE_H
#define AUTH_BASIC_USER_FILE_H

#include <posthouse/types.h>

enum { USER_WHY = 1024 };

enum user_change { USER_ADD, USER_REPLACE, USER_REMOVE };
/* name: whom it is about, also written without "@default_domain" (which may be NULL).  line: what
 * shall stand there, without LF.  account: who gets the file when it is made by root: an account's
 * name, or a path whose owner it is, or NULL.  0; PH_EEXIST: USER_ADD and there is one; PH_ENOENT:
 * the others and there is none; or other errors, then why says in words. */
int user_file_change(const char *path, enum user_change what, struct ph_str name,
                     const char *default_domain, const char *line, const char *account,
                     char why[USER_WHY]) __attribute__((warn_unused_result));
/* Is there such a line?  1, 0, or an error and why. */
int user_file_has(const char *path, struct ph_str name, const char *default_domain,
                  char why[USER_WHY]) __attribute__((warn_unused_result));

#endif
