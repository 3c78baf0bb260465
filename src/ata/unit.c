/* The unit: filled in by its author. */
#include "ata/ata.h"
