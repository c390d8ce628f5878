#include "peft/start_source.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/error.hpp"
#include "kernels/factorisations.hpp"
#include "kernels/host_data.hpp"
#include "models/pieces.hpp"
#include "models/stage_model.hpp"
#include "peft/adapter_folder.hpp"

namespace collie {
namespace {

// [out, in], however the file stores it.
std::vector<float> matrix_of(const Checkpoint& base, const NamedTensor& tensor) {
  const std::vector<float> stored = base.evaluated(tensor.name, tensor.shape);
  return tensor.transposed ? host::transposed(stored, tensor.shape[0], tensor.shape[1]) : stored;
}

struct Factors {
  std::vector<float> b, a;  // [out, rank], [rank, in]
};

// Columns [0, rank) of [rows, columns].
std::vector<float> first_columns(const std::vector<float>& matrix, int64_t columns, int64_t rank) {
  std::vector<float> result;
  for (size_t row = 0; row < matrix.size(); row += static_cast<size_t>(columns))
    result.insert(result.end(), matrix.begin() + static_cast<int64_t>(row),
                  matrix.begin() + static_cast<int64_t>(row) + rank);
  return result;
}

// scale B A are the `rank` largest singular values of W; B and A have a root of each.
Factors principal_factors(const std::vector<float>& w, int64_t out, int64_t in,
                          const LowRankAdapter& adapter) {
  SingularValues svd = singular_values(w, out, in);
  const int64_t rank = adapter.rank;
  Factors factors{first_columns(svd.u, std::min(out, in), rank), {svd.v.begin(), svd.v.begin() + rank * in}};
  for (int64_t k = 0; k < rank; ++k) {
    const float root = std::sqrt(svd.s[static_cast<size_t>(k)] / static_cast<float>(adapter.scale));
    for (int64_t i = 0; i < out; ++i) factors.b[static_cast<size_t>(i * rank + k)] *= root;
    for (int64_t j = 0; j < in; ++j) factors.a[static_cast<size_t>(k * in + j)] *= root;
  }
  return factors;
}

// B A are the first columns of Q times the first rows of R. They are not divided by the scale, as in peft.
Factors first_orthogonal_factors(const std::vector<float>& w, int64_t out, int64_t in, int64_t rank) {
  OrthogonalFactors qr = orthogonal_factors(w, out, in);
  return {first_columns(qr.q, std::min(out, in), rank), {qr.r.begin(), qr.r.begin() + rank * in}};
}

// The lengths of the rows of W + scale B A.
std::vector<float> lengths_of_rows(const std::vector<float>& w, int64_t out, int64_t in,
                                   const LowRankAdapter& adapter, const Factors& factors) {
  std::vector<float> lengths, row;
  for (int64_t i = 0; i < out; ++i) {
    row.assign(w.begin() + i * in, w.begin() + (i + 1) * in);
    for (int64_t k = 0; k < adapter.rank; ++k) {
      const auto factor =
          static_cast<float>(adapter.scale) * factors.b[static_cast<size_t>(i * adapter.rank + k)];
      if (factor == 0) continue;
      for (int64_t j = 0; j < in; ++j)
        row[static_cast<size_t>(j)] += factor * factors.a[static_cast<size_t>(k * in + j)];
    }
    double squares = 0;
    for (const float value : row) squares += static_cast<double>(value) * value;
    lengths.push_back(static_cast<float>(std::sqrt(squares)));
  }
  return lengths;
}

void copy_part(const std::vector<float>& all, int64_t begin, std::span<float> values) {
  COLLIE_ASSERT(begin >= 0 && begin + static_cast<int64_t>(values.size()) <= static_cast<int64_t>(all.size()),
                "values [{}, {}) of {}", begin, begin + static_cast<int64_t>(values.size()), all.size());
  std::copy_n(all.begin() + begin, values.size(), values.begin());
}

}  // namespace

StartSource::StartSource(Checkpoint base, const ModelSpec& model, uint64_t seed)
    : base_(std::move(base)), model_(model), seed_(seed) {
  for (Parameter& parameter : model_parameters(model)) parameters_[parameter.name] = std::move(parameter);
  for (NamedTensor& tensor : tensors_of(model_parameters(model.base()))) {
    const std::string module = tensor.name.substr(0, tensor.name.rfind('.'));
    if (tensor.name.ends_with(".weight")) matrices_[module] = std::move(tensor);
  }
  for (const auto& [matrix, adapters] : model.adapters)
    for (const LowRankAdapter& adapter : adapters)
      for (const std::string& name :
           {name_of_a(matrix, adapter), name_of_b(matrix, adapter), name_of_magnitude(matrix)})
        module_of_adapter_[name] = matrix;
  for (const NamedTensor& tensor : adapter_tensors(model))
    slices_.push_back(whole_weight_slice(tensor.name, tensor.shape));
}

void StartSource::read(size_t index, int64_t begin, std::span<float> values) const {
  const std::lock_guard lock(mutex_);
  copy_part(whole(slices_.at(index).name), begin, values);
}

const std::vector<float>& StartSource::whole(const std::string& tensor) const {
  const auto module = module_of_adapter_.find(tensor);
  const std::string& owner = module == module_of_adapter_.end() ? tensor : module->second;
  if (last_ != owner) {
    last_.clear();
    tensors_.clear();
    if (module == module_of_adapter_.end())
      tensors_[tensor] = base_.evaluated(tensor, parameters_.at(tensor).shape);
    else
      tensors_ = of_matrix(owner, model_.adapters.at(owner).front());
    last_ = owner;
  }
  return tensors_.at(tensor);
}

// What the adapter begins with of itself.
std::vector<float> StartSource::initial(const std::string& tensor) const {
  const Parameter& parameter = parameters_.at(tensor);
  const auto operations = make_cpu_operations(1, std::make_shared<MemoryAccount>());
  Tensor values = operations->empty(parameter.shape, Category::workspace);
  initialise(parameter, seed_, *operations, values);
  return {values.data<float>(), values.data<float>() + values.numel()};
}

StartSource::Tensors StartSource::of_matrix(const std::string& matrix, const LowRankAdapter& adapter) const {
  const NamedTensor& tensor = matrices_.at(matrix);
  const int64_t out = tensor.shape[tensor.transposed ? 1 : 0], in = tensor.shape[tensor.transposed ? 0 : 1];
  const std::vector<float> w = matrix_of(base_, tensor);
  Factors factors;
  if (adapter.start == AdapterStart::principal)
    factors = principal_factors(w, out, in, adapter);
  else if (adapter.start == AdapterStart::orthogonal)
    factors = first_orthogonal_factors(w, out, in, adapter.rank);
  else
    factors = {initial(name_of_b(matrix, adapter)), initial(name_of_a(matrix, adapter))};
  Tensors tensors;
  if (adapter.has_magnitude)
    tensors[name_of_magnitude(matrix)] = lengths_of_rows(w, out, in, adapter, factors);
  tensors[name_of_a(matrix, adapter)] = std::move(factors.a);
  tensors[name_of_b(matrix, adapter)] = std::move(factors.b);
  return tensors;
}

EquivalentSource::EquivalentSource(Checkpoint trained, Checkpoint start, const ModelSpec& model)
    : trained_(std::move(trained)), start_(std::move(start)), tensors_(adapter_tensors(model)) {
  for (const NamedTensor& tensor : tensors_) {
    Shape shape = tensor.shape;
    if (tensor.name.ends_with(".lora_A.weight")) shape = Shape{2 * shape[0], shape[1]};
    if (tensor.name.ends_with(".lora_B.weight")) shape = Shape{shape[0], 2 * shape[1]};
    slices_.push_back(whole_weight_slice(tensor.name, shape));
  }
}

void EquivalentSource::read(size_t index, int64_t begin, std::span<float> values) const {
  const NamedTensor& tensor = tensors_.at(index);
  const std::vector<float> own = trained_.evaluated(tensor.name, tensor.shape);
  const bool is_a = tensor.name.ends_with(".lora_A.weight"), is_b = tensor.name.ends_with(".lora_B.weight");
  if (!is_a && !is_b) return copy_part(own, begin, values);
  const std::vector<float> first = start_.evaluated(tensor.name, tensor.shape);
  std::vector<float> both;
  const int64_t rows = is_a ? 1 : tensor.shape[0], width = static_cast<int64_t>(own.size()) / rows;
  for (int64_t row = 0; row < rows; ++row) {
    both.insert(both.end(), own.begin() + row * width, own.begin() + (row + 1) * width);
    for (int64_t i = row * width; i < (row + 1) * width; ++i)
      both.push_back(is_b ? -first[static_cast<size_t>(i)] : first[static_cast<size_t>(i)]);
  }
  copy_part(both, begin, values);
}

PeftSection equivalent_adapter(PeftSection peft) {
  // scale = alpha / r, or alpha / √r, stays what it was.
  const double factor = peft.use_rslora ? std::sqrt(2.0) : 2;
  peft.r *= 2;
  peft.lora_alpha *= factor;
  for (auto& [pattern, rank] : peft.rank_pattern.items) rank *= 2;
  for (auto& [pattern, alpha] : peft.alpha_pattern.items) alpha *= factor;
  peft.init_lora_weights = "true";
  return peft;
}

}  // namespace collie
