#include <algorithm>
#include <numeric>

#include "kernels/cuda/ops/embedding.hpp"

namespace collie::cuda {

TokensById tokens_by_id(std::span<const int32_t> ids) {
  const auto id_of = [&](int32_t token) { return ids[static_cast<size_t>(token)]; };
  std::vector<int32_t> tokens(ids.size());
  std::iota(tokens.begin(), tokens.end(), 0);
  std::erase_if(tokens, [&](int32_t token) { return id_of(token) == -1; });
  std::stable_sort(tokens.begin(), tokens.end(), [&](int32_t a, int32_t b) { return id_of(a) < id_of(b); });
  std::vector<int32_t> known, first;
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (i > 0 && id_of(tokens[i]) == known.back()) continue;
    known.push_back(id_of(tokens[i]));
    first.push_back(static_cast<int32_t>(i));
  }
  first.push_back(static_cast<int32_t>(tokens.size()));
  TokensById result{static_cast<int64_t>(known.size()), std::move(known)};
  result.array.insert(result.array.end(), first.begin(), first.end());
  result.array.insert(result.array.end(), tokens.begin(), tokens.end());
  return result;
}

}  // namespace collie::cuda
