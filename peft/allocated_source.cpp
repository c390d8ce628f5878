#include "peft/allocated_source.hpp"

#include <algorithm>
#include <utility>

#include "models/adapters.hpp"
#include "models/pieces.hpp"
#include "peft/adapter_folder.hpp"

namespace collie {
namespace {

std::vector<bool> mask_in(const Checkpoint& checkpoint, const std::string& matrix, int64_t rank) {
  const auto account = std::make_shared<MemoryAccount>();
  const Shape shape{rank, 1};
  Tensor mask = Tensor::host(shape, DType::f32, account, Category::workspace);
  checkpoint.read(name_of_values(matrix), rank_mask_state, shape, {0, 0}, mask);
  std::vector<bool> kept;
  for (int64_t k = 0; k < rank; ++k) kept.push_back(mask.data<float>()[k] != 0);
  return kept;
}

bool is_whole(const std::vector<bool>& kept) {
  return std::find(kept.begin(), kept.end(), false) == kept.end();
}

// The rows, or the columns, of [rows, columns] that are kept.
std::vector<float> kept_part(const std::vector<float>& values, int64_t columns, const std::vector<bool>& kept,
                             bool by_columns) {
  std::vector<float> part;
  for (size_t i = 0; i < values.size(); ++i) {
    const auto row = i / static_cast<size_t>(columns), column = i % static_cast<size_t>(columns);
    if (kept[by_columns ? column : row]) part.push_back(values[i]);
  }
  return part;
}

}  // namespace

AllocatedSource::AllocatedSource(Checkpoint trained, const ModelSpec& model) : trained_(std::move(trained)) {
  for (const auto& [matrix, adapters] : model.adapters)
    kept_[matrix] = mask_in(trained_, matrix, adapters.front().rank);
  for (const NamedTensor& tensor : adapter_tensors(model)) {
    Trained each{tensor.name, "", tensor.shape, tensor.name.ends_with(".lora_B")};
    Shape shape = tensor.shape;
    const std::string matrix = tensor.name.substr(0, tensor.name.rfind('.'));
    const bool is_part =
        each.by_columns || tensor.name.ends_with(".lora_A") || tensor.name.ends_with(".lora_E");
    if (is_part && kept_.count(matrix) > 0) {
      const std::vector<bool>& kept = kept_.at(matrix);
      const int64_t rank = std::count(kept.begin(), kept.end(), true);
      each.matrix = matrix;
      shape = each.by_columns ? Shape{shape[0], rank} : Shape{rank, shape[1]};
    }
    tensors_.push_back(std::move(each));
    slices_.push_back(whole_weight_slice(tensor.name, shape));
  }
}

nlohmann::ordered_json AllocatedSource::rank_pattern() const {
  nlohmann::ordered_json pattern = nlohmann::ordered_json::object();
  bool has_lost = false;
  for (const auto& [matrix, kept] : kept_) {
    pattern[name_of_values(matrix)] = kept;
    has_lost = has_lost || !is_whole(kept);
  }
  return has_lost ? pattern : nlohmann::ordered_json(nullptr);
}

void AllocatedSource::read(size_t index, int64_t begin, std::span<float> values) const {
  const Trained& tensor = tensors_.at(index);
  std::vector<float> all = trained_.evaluated(tensor.name, tensor.shape);
  if (!tensor.matrix.empty())
    all = kept_part(all, tensor.shape[1], kept_.at(tensor.matrix), tensor.by_columns);
  std::copy_n(all.begin() + begin, values.size(), values.begin());
}

}  // namespace collie
