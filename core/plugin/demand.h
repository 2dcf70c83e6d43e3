/* demand.h - what the core's settings ask of plugins, and whether any supplies it. */
#ifndef PLUGIN_DEMAND_H
#define PLUGIN_DEMAND_H

#include "base/diag.h"
#include "plugin/generation.h"

/* Looks at the listeners once all instances are set up. Returns the errors added to d. */
unsigned demand_check(const struct generation *g, struct diags *d);

#endif
