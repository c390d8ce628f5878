#include "models/dropout.hpp"

#include "base/random.hpp"

namespace collie {

uint64_t dropout_key(const DropoutDraw& draw, const std::string& place) {
  return random_key(draw.seed, fmt::format("dropout/{}/{}", draw.step, place));
}

void drop_elements(LayerContext& context, double rate, const std::string& place,
                   std::span<const uint64_t> rows, Tensor& x, int64_t first_column) {
  if (!context.dropout || rate == 0) return;
  COLLIE_ASSERT(static_cast<int64_t>(rows.size()) == x.dim(0), "{}: {} rows of {} have numbers", place,
                rows.size(), x.dim(0));
  context.operations.dropout(x, rate, dropout_key(*context.dropout, place), rows, first_column, x);
}

}  // namespace collie
