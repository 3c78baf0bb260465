/* Which rules a medium has: the one place that names them all. A family is one more row and its own
 * file. */
#include "disc/rules.h"

static const struct disc_rules *const table[] = {
	&disc_rules_cd_r,   &disc_rules_dvd_r,     &disc_rules_dvd_rw, &disc_rules_dvd_rw_ro,
	&disc_rules_plus_r, &disc_rules_plus_r_dl, &disc_rules_bd_r,
};

static unsigned rom_capacities(const struct disc *d, struct disc_capacity *out, unsigned max)
{
	(void)max;
	out[0] = (struct disc_capacity){.blocks = d->state->capacity, .type = 2, .current = true};
	return 1;
}

const struct disc_rules disc_rules_rom = {
	.align = 1,
	.control = 4,
	.blank_mode = 1,
	.capacities = rom_capacities,
};

const struct disc_rules *disc_rules_find(uint16_t profile)
{
	const struct disc_profile *p = disc_profile_find(profile);

	if (p && p->method == METHOD_ROM)
		return &disc_rules_rom;
	for (unsigned i = 0; i < G_N_ELEMENTS(table); i++)
		if (table[i]->profile == profile)
			return table[i];
	return NULL;
}
