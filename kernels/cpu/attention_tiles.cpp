#include "kernels/cpu/attention_tiles.hpp"

#include "kernels/cpu/convert.hpp"

namespace collie::cpu {

std::vector<Document> documents_of(const AttentionSpans& spans) {
  const int64_t window = spans.window > 0 ? spans.window : int64_t{1} << 32;
  std::vector<Document> documents;
  for (size_t i = 0; i + 1 < spans.query_starts.size(); ++i)
    documents.push_back({spans.query_starts[i], spans.query_starts[i + 1] - spans.query_starts[i],
                         spans.key_starts[i], spans.key_starts[i + 1] - spans.key_starts[i], spans.causal,
                         window, spans.past_keys, spans.queries_of_one_key(i)});
  return documents;
}

FloatRows::FloatRows(const HeadMatrix& x, int64_t first, int64_t rows, int64_t width, float* buffer)
    : data(x.data.narrow ? buffer : static_cast<float*>(x.row(first).data)),
      stride(x.data.narrow ? width : x.stride),
      x_(x),
      first_(first),
      rows_(rows),
      width_(width) {}

void FloatRows::load() const {
  if (!x_.data.narrow) return;
  for (int64_t i = 0; i < rows_; ++i) convert(x_.row(first_ + i), {data + i * width_, false}, width_);
}

void FloatRows::clear() const {
  for (int64_t i = 0; i < rows_; ++i) std::fill_n(data + i * stride, width_, 0.0F);
}

void FloatRows::store() const {
  if (!x_.data.narrow) return;
  for (int64_t i = 0; i < rows_; ++i) convert({data + i * width_, false}, x_.row(first_ + i), width_);
}

}  // namespace collie::cpu
