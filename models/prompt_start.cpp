#include "models/prompt_start.hpp"

#include "models/families/family.hpp"
#include "models/pieces.hpp"
#include "models/weights_io.hpp"

namespace collie {

bool read_prompt_start(const ModelSpec& model, const Parameter& parameter, const WeightFolder& folder,
                       Operations& operations, Tensor& weight) {
  if (parameter.name != prompt_tensor || model.prompt.start_ids.empty()) return false;
  const ModelConfig& config = model.architecture;
  const Shape table{config.vocab_size, config.hidden_size};
  std::vector<Parameter> rows;
  for (const int32_t id : model.prompt.start_ids)
    rows.push_back(part_of_tensor(family_of(config).names.embedding, table, id, 1, false));
  std::vector<Tensor> weights{weight};
  Parameter all = stacked(parameter.name, rows);
  all.stored_rows = config.stored_vocab_size;
  read_weights(folder, {all}, operations, weights);
  if (config.embedding_scale != 1) operations.scale(weight, config.embedding_scale);
  return true;
}

}  // namespace collie
