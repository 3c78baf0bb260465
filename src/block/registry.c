/* The block drivers there are, listed by hand. */
#include "block/driver.h"

#include <string.h>

#include "block/drivers.h"

static const struct block_driver *const drivers[] = {
	&block_file,     &block_raw,          &block_qcow2, &block_vmdk, &block_uimage, &block_mem,
	&block_log,      &block_fault,        &block_vdi,   &block_vpc,  &block_vhdx,   &block_nbd,
	&block_throttle, &block_copy_on_read, &block_null,  NULL,
};

const struct block_driver *const *block_drivers(void)
{
	return drivers;
}

const struct block_driver *block_find_driver(const char *name)
{
	if (!strcmp(name, "vhd")) /* what everybody but QEMU calls it */
		name = "vpc";
	for (unsigned i = 0; drivers[i]; i++)
		if (strcmp(drivers[i]->name, name) == 0)
			return drivers[i];
	return NULL;
}
