#include "peft/merged_source.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/error.hpp"
#include "models/pieces.hpp"
#include "models/stage_model.hpp"

namespace collie {
namespace {

// A matrix [out, in] in the order in which its file stores it.
struct Matrix {
  std::vector<float>& values;
  int64_t out, in;
  bool transposed;

  float& at(int64_t row, int64_t column) const {
    return values[static_cast<size_t>(transposed ? column * out + row : row * in + column)];
  }
};

// Row k of a times values[k]: what a sum of triplets has in the place of A.
void multiply_rows(std::vector<float>& a, const std::vector<float>& values) {
  const size_t width = a.size() / values.size();
  for (size_t i = 0; i < a.size(); ++i) a[i] *= values[i / width];
}

// w += scale B A
void add_product(const Matrix& w, float scale, const std::vector<float>& b, const std::vector<float>& a,
                 int64_t rank) {
  std::vector<float> row(static_cast<size_t>(w.in));
  for (int64_t i = 0; i < w.out; ++i) {
    std::fill(row.begin(), row.end(), 0.0F);
    for (int64_t k = 0; k < rank; ++k) {
      const float factor = b[static_cast<size_t>(i * rank + k)];
      const float* const of_a = a.data() + k * w.in;
      for (int64_t j = 0; j < w.in; ++j) row[static_cast<size_t>(j)] += factor * of_a[j];
    }
    for (int64_t j = 0; j < w.in; ++j) w.at(i, j) += scale * row[static_cast<size_t>(j)];
  }
}

// Gives each row of w its length.
void set_lengths(const Matrix& w, const std::vector<float>& lengths) {
  for (int64_t i = 0; i < w.out; ++i) {
    double squares = 0;
    for (int64_t j = 0; j < w.in; ++j) squares += static_cast<double>(w.at(i, j)) * w.at(i, j);
    const double factor = squares == 0 ? 0 : lengths[static_cast<size_t>(i)] / std::sqrt(squares);
    for (int64_t j = 0; j < w.in; ++j) w.at(i, j) = static_cast<float>(w.at(i, j) * factor);
  }
}

void multiply(const Matrix& w, const std::vector<float>& factors, bool of_input) {
  for (int64_t i = 0; i < w.out; ++i)
    for (int64_t j = 0; j < w.in; ++j) w.at(i, j) *= factors[static_cast<size_t>(of_input ? j : i)];
}

}  // namespace

MergedSource::MergedSource(Checkpoint weights, const ModelSpec& model, bool take_out)
    : weights_(std::move(weights)), model_(model), take_out_(take_out) {
  for (const NamedTensor& tensor : tensors_of(model_parameters(model.base()))) {
    slices_.push_back(whole_weight_slice(tensor.name, tensor.shape));
    transposed_.push_back(tensor.transposed);
  }
}

void MergedSource::read(size_t index, int64_t begin, std::span<float> values) const {
  Last* last = nullptr;
  {
    const std::lock_guard lock(mutex_);
    last = &last_[std::this_thread::get_id()];  // stays where it is, and is this thread's
  }
  if (last->index != index) {
    last->index.reset();
    last->values.clear();
    last->values = merged(index);
    last->index = index;
  }
  const std::vector<float>& all = last->values;
  COLLIE_ASSERT(begin >= 0 && begin + static_cast<int64_t>(values.size()) <= static_cast<int64_t>(all.size()),
                "{}: values [{}, {}) of {}", slices_.at(index).name, begin,
                begin + static_cast<int64_t>(values.size()), all.size());
  std::copy_n(all.begin() + begin, values.size(), values.begin());
}

std::vector<float> MergedSource::merged(size_t index) const {
  const Slice& slice = slices_.at(index);
  std::vector<float> w = weights_.evaluated(slice.name, Shape::from(slice.shape));
  const std::string module = slice.name.substr(0, slice.name.rfind('.'));
  const bool transposed = transposed_[index];
  if (slice.name.ends_with(".weight") && slice.shape.size() == 2)
    merge_matrix(module, w, slice.shape[transposed ? 1 : 0], slice.shape[transposed ? 0 : 1], transposed);
  if (slice.name.ends_with(".bias")) merge_bias(module, w);
  return w;
}

void MergedSource::merge_matrix(const std::string& module, std::vector<float>& values, int64_t out,
                                int64_t in, bool transposed) const {
  const Matrix w{values, out, in, transposed};
  if (const auto adapters = model_.adapters.find(module); adapters != model_.adapters.end())
    for (const LowRankAdapter& adapter : adapters->second) {
      if (adapter.rank == 0) continue;
      std::vector<float> a = weights_.evaluated(name_of_a(module, adapter), {adapter.rank, in});
      if (adapter.has_values) multiply_rows(a, weights_.evaluated(name_of_values(module), {adapter.rank, 1}));
      add_product(w, static_cast<float>(take_out_ ? -adapter.scale : adapter.scale),
                  weights_.evaluated(name_of_b(module, adapter), {out, adapter.rank}), a, adapter.rank);
      if (adapter.has_magnitude) set_lengths(w, weights_.evaluated(name_of_magnitude(module), {out}));
    }
  if (const auto vector = model_.vectors.find(module); vector != model_.vectors.end()) {
    const bool of_input = vector->second.of_input;
    const Shape shape = of_input ? Shape{1, in} : Shape{out, 1};
    multiply(w, weights_.evaluated(name_of_vector(module), shape), of_input);
  }
}

// A vector multiplies all that the matrix gives.
void MergedSource::merge_bias(const std::string& module, std::vector<float>& values) const {
  const auto vector = model_.vectors.find(module);
  if (vector == model_.vectors.end() || vector->second.of_input) return;
  const auto out = static_cast<int64_t>(values.size());
  const std::vector<float> factors = weights_.evaluated(name_of_vector(module), {out, 1});
  for (size_t i = 0; i < values.size(); ++i) values[i] *= factors[i];
}

}  // namespace collie
