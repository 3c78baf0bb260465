/* The block drivers there are, listed by hand. */
#include "block/driver.h"

#include <string.h>

#include "block/drivers.h"

static const struct block_driver *const drivers[] = {
	&block_file, &block_raw, &block_qcow2, &block_mem,
	&block_null, &block_log, &block_fault, NULL,
};

const struct block_driver *const *block_drivers(void)
{
	return drivers;
}

const struct block_driver *block_find_driver(const char *name)
{
	for (unsigned i = 0; drivers[i]; i++)
		if (strcmp(drivers[i]->name, name) == 0)
			return drivers[i];
	return NULL;
}
