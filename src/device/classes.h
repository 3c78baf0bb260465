/* The devices of the tree, one file each, written with the SDK alone. */
#pragma once

#include "outboard.h"

extern const struct ob_class edu_class;
extern const struct ob_class ahci_class;
extern const struct ob_class ide_class;
