# PH_NEED(VAR, MODULE, PACKAGE) - a library that must be there; all that are
# missing are told at once by PH_MISSING_STOP.
AC_DEFUN([PH_MISSING], [ph_missing="$ph_missing
  $1: install the package $2"])
AC_DEFUN([PH_NEED], [PKG_CHECK_MODULES([$1], [$2], [], [PH_MISSING([$2], [$3])])])
AC_DEFUN([PH_MISSING_STOP], [AS_IF([test -n "$ph_missing"],
  [AC_MSG_ERROR([these are missing:$ph_missing])])])

# PH_WANT(VAR, MODULE, PACKAGE, WHAT FOR) - does without, and says so.
AC_DEFUN([PH_WANT], [PKG_CHECK_MODULES([$1], [$2], [ph_have_$1=yes],
  [ph_have_$1=no; ph_wanted_missing="$ph_wanted_missing $3 ($4)"])
AM_CONDITIONAL([HAVE_$1], [test "$ph_have_$1" = yes])])

# PH_ARG_PLUGIN(NAME, SUMMARY) - --with-plugin-NAME=shared|static|no
AC_DEFUN([PH_PLUGINS_BEGIN], [ph_plugins_shared= ph_plugins_static= ph_plugins_no=])
AC_DEFUN([PH_ARG_PLUGIN], [
AC_ARG_WITH([plugin-$1], [AS_HELP_STRING([--with-plugin-$1=shared|static|no], [$2])],
  [], [AS_TR_SH([with_plugin_$1])=shared])
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
