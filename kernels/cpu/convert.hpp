// Conversion between float and bfloat16.
#pragma once

#include "kernels/cpu/elements.hpp"

namespace collie::cpu {

// Copies n dense elements, converted to the type of `to`: exactly, or rounded to nearest even.
void convert(Elements from, Elements to, int64_t n);

}  // namespace collie::cpu
