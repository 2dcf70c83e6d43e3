/* bad-row.c - an option row that points behind the configuration. */
#include <posthouse/posthouse.h>

struct bad_cfg { int64_t first, second; };

static const struct ph_option bad_options[] = {
	PH_OPT(struct bad_cfg, first, "first", .doc = "Fits."),
	PH_OPT(struct bad_cfg, second, "second", .doc = "Does not."),
	PH_OPT_END
};

PH_PLUGIN(bad_row, .summary = "miscounted", .options = bad_options,
	.config_size = sizeof(int64_t));
