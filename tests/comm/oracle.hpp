// What each collective gives, one rank after the other on plain bytes.
#pragma once

#include "tests/comm/support.hpp"

namespace collie::test {

// ((in[0] + in[1]) + in[2]) + ...
template <class T>
Bytes oracle_sum_as(const std::vector<Bytes>& in) {
  std::vector<T> total(in[0].size() / sizeof(T)), addend(total.size());
  for (size_t rank = 0; rank < in.size(); ++rank) {
    if (!in[rank].empty()) std::memcpy(addend.data(), in[rank].data(), in[rank].size());
    for (size_t i = 0; i < total.size(); ++i) total[i] = rank == 0 ? addend[i] : total[i] + addend[i];
  }
  Bytes bytes(in[0].size());
  if (!bytes.empty()) std::memcpy(bytes.data(), total.data(), bytes.size());
  return bytes;
}

inline Bytes oracle_sum(DType dtype, const std::vector<Bytes>& in) {
  return dtype == DType::f32 ? oracle_sum_as<float>(in) : oracle_sum_as<double>(in);
}

// Part `index` of `parts`.
inline Bytes part_of(const Bytes& whole, size_t index, size_t parts) {
  const auto size = static_cast<std::ptrdiff_t>(whole.size() / parts);
  const auto begin = whole.begin() + static_cast<std::ptrdiff_t>(index) * size;
  return Bytes(begin, begin + size);
}

inline Bytes joined(const std::vector<Bytes>& parts) {
  Bytes whole;
  for (const Bytes& part : parts) whole.insert(whole.end(), part.begin(), part.end());
  return whole;
}

}  // namespace collie::test
