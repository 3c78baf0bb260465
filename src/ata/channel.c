/* The channel: filled in by its author. */
#include "ata/channel.h"
