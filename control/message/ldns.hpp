// ldns, without its macros: unless <stdbool.h> came first it defines bool, true and false, and true
// becomes an int.
#pragma once

#include <stdbool.h>

#include <ldns/ldns.h>
