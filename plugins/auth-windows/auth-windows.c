/* auth-windows.c - integrated Windows authentication. */
#include <posthouse/posthouse.h>

PH_PLUGIN(auth_windows,
	.summary = "integrated Windows authentication",
	.doc     = "Integrated Windows authentication.");
