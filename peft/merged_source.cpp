#include "peft/merged_source.hpp"

#include <algorithm>
#include <utility>

#include "base/error.hpp"
#include "models/pieces.hpp"
#include "models/stage_model.hpp"

namespace collie {
namespace {

std::vector<float> read_whole(const Checkpoint& weights, const std::string& tensor, const Shape& shape) {
  const auto account = std::make_shared<MemoryAccount>();
  Tensor values = Tensor::host(shape, DType::f32, account, Category::workspace);
  weights.read_evaluated(tensor, shape, std::vector<int64_t>(static_cast<size_t>(shape.rank()), 0), values);
  return {values.data<float>(), values.data<float>() + values.numel()};
}

// w [out, in], or [in, out] if it is transposed, += scale B A.
void add_product(std::vector<float>& w, int64_t out, int64_t in, bool transposed, float scale,
                 const std::vector<float>& b, const std::vector<float>& a, int64_t rank) {
  const auto at = [](const std::vector<float>& matrix, int64_t row, int64_t columns, int64_t column) {
    return matrix[static_cast<size_t>(row * columns + column)];
  };
  std::vector<float> row(static_cast<size_t>(in));
  for (int64_t i = 0; i < out; ++i) {
    std::fill(row.begin(), row.end(), 0.0F);
    for (int64_t k = 0; k < rank; ++k) {
      const float factor = at(b, i, rank, k);
      const float* const of_a = a.data() + k * in;
      for (int64_t j = 0; j < in; ++j) row[static_cast<size_t>(j)] += factor * of_a[j];
    }
    for (int64_t j = 0; j < in; ++j)
      w[static_cast<size_t>(transposed ? j * out + i : i * in + j)] += scale * row[static_cast<size_t>(j)];
  }
}

}  // namespace

MergedSource::MergedSource(Checkpoint weights, const ModelSpec& model)
    : weights_(std::move(weights)), model_(model) {
  for (const NamedTensor& tensor : tensors_of(model_parameters(model.base()))) {
    const std::vector<int64_t> shape = tensor.shape.to_vector();
    slices_.push_back({tensor.name, "weight", shape, std::vector<int64_t>(shape.size(), 0), shape});
    transposed_.push_back(tensor.transposed);
  }
}

void MergedSource::read(size_t index, int64_t begin, std::span<float> values) const {
  const std::lock_guard lock(mutex_);
  const std::vector<float>& all = whole(index);
  COLLIE_ASSERT(begin >= 0 && begin + static_cast<int64_t>(values.size()) <= static_cast<int64_t>(all.size()),
                "{}: values [{}, {}) of {}", slices_.at(index).name, begin,
                begin + static_cast<int64_t>(values.size()), all.size());
  std::copy_n(all.begin() + begin, values.size(), values.begin());
}

// The parts of a tensor are asked for one after another, so the last one is kept.
const std::vector<float>& MergedSource::whole(size_t index) const {
  if (!last_.empty() && last_index_ == index) return last_;
  const Slice& slice = slices_.at(index);
  last_.clear();
  std::vector<float> w = read_whole(weights_, slice.name, Shape::from(slice.shape));
  const std::string module = slice.name.substr(0, slice.name.rfind('.'));
  const auto adapters = model_.adapters.find(module);
  if (adapters != model_.adapters.end() && slice.name.ends_with(".weight")) {
    const bool transposed = transposed_[index];
    const int64_t out = slice.shape[transposed ? 1 : 0], in = slice.shape[transposed ? 0 : 1];
    for (const LowRankAdapter& adapter : adapters->second)
      add_product(w, out, in, transposed, static_cast<float>(adapter.scale),
                  read_whole(weights_, name_of_b(module, adapter), {out, adapter.rank}),
                  read_whole(weights_, name_of_a(module, adapter), {adapter.rank, in}), adapter.rank);
  }
  last_ = std::move(w);
  last_index_ = index;
  return last_;
}

}  // namespace collie
