# PH_NEED(VAR, MODULE, PACKAGE) - a library that must be there; all that are
# missing are told at once by PH_MISSING_STOP.
AC_DEFUN([PH_MISSING], [ph_missing="$ph_missing
  $1: install the package $2"])
AC_DEFUN([PH_NEED], [PKG_CHECK_MODULES([$1], [$2], [], [PH_MISSING([$2], [$3])])])
AC_DEFUN([PH_MISSING_STOP], [AS_IF([test -n "$ph_missing"],
  [AC_MSG_ERROR([these are missing:$ph_missing])])])

# PH_WANT(VAR, MODULE, PACKAGE, WHAT FOR[, HEADER, LIBRARY, FUNCTION]) - does without, and says
# so.  Without a MODULE of pkg-config the header and the function are looked for.
AC_DEFUN([PH_WANT], [
m4_ifval([$2],
  [PKG_CHECK_MODULES([$1], [$2], [ph_have_$1=yes], [ph_have_$1=no])],
  [AC_CHECK_HEADER([$5], [AC_CHECK_LIB([$6], [$7], [ph_have_$1=yes; $1_LIBS=-l$6], [ph_have_$1=no])],
    [ph_have_$1=no])
  AC_SUBST([$1_LIBS])])
AS_VAR_IF([ph_have_$1], [no], [ph_wanted_missing="$ph_wanted_missing $3 ($4)"])
AM_CONDITIONAL([HAVE_$1], [test "$ph_have_$1" = yes])])

# PH_ARG_PLUGIN(NAME, SUMMARY[, LIBRARIES]) - --with-plugin-NAME=shared|static|no; by default shared
# where the libraries (variables of PH_WANT) are there.
AC_DEFUN([PH_PLUGINS_BEGIN], [ph_plugins_shared= ph_plugins_static= ph_plugins_no=])
AC_DEFUN([PH_ARG_PLUGIN], [
ph_lacks=
m4_foreach_w([PH_LIB], [$3], [AS_VAR_IF([ph_have_]PH_LIB, [no], [ph_lacks="$ph_lacks PH_LIB"])
])
AC_ARG_WITH([plugin-$1], [AS_HELP_STRING([--with-plugin-$1=shared|static|no], [$2])],
  [AS_IF([test -n "$ph_lacks" && test "$withval" != no],
    [AC_MSG_ERROR([plugin $1 cannot be built, these are missing:$ph_wanted_missing])])],
  [AS_IF([test -n "$ph_lacks"], [AS_TR_SH([with_plugin_$1])=no], [AS_TR_SH([with_plugin_$1])=shared])])
AS_CASE([$AS_TR_SH([with_plugin_$1])],
  [yes|shared], [AS_TR_SH([with_plugin_$1])=shared; ph_plugins_shared="$ph_plugins_shared $1"],
  [static], [ph_plugins_static="$ph_plugins_static $1"],
  [no], [ph_plugins_no="$ph_plugins_no $1"],
  [AC_MSG_ERROR([--with-plugin-$1 is shared, static or no])])
AM_CONDITIONAL(m4_toupper(AS_TR_SH([plugin_$1_shared])), [test "$AS_TR_SH([with_plugin_$1])" = shared])
AM_CONDITIONAL(m4_toupper(AS_TR_SH([plugin_$1_static])), [test "$AS_TR_SH([with_plugin_$1])" = static])
])
AC_DEFUN([PH_PLUGINS_END], [PLUGINS_STATIC=$ph_plugins_static
AC_SUBST([PLUGINS_STATIC])])
