// The constant that a norm adds to its weight.
#pragma once

namespace collie {

// What is added to the weight, in the accumulation dtype. For an offset of 0 it is -0, which changes no bit
// of any weight, not even the sign of a zero.
template <class T>
constexpr T addend_of(double weight_offset) {
  return weight_offset == 0 ? T{-0.0} : static_cast<T>(weight_offset);
}

}  // namespace collie
