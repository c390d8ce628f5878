// float16 (IEEE 754 binary16), in which files may store weights.
#pragma once

#include <cstdint>

namespace collie {

float float_from_half(uint16_t half);  // exact
// Rounded to nearest even; beyond 65504 infinite; NaN stays NaN.
uint16_t half_from_float(float value);

}  // namespace collie
