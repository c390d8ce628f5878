#include "models/model_spec.hpp"

#include <algorithm>

#include "base/error.hpp"
#include "base/name_pattern.hpp"
#include "models/pieces.hpp"
#include "models/stage_model.hpp"

namespace collie {

bool ModelSpec::trains(const std::string& tensor) const {
  return std::none_of(frozen.begin(), frozen.end(),
                      [&](const std::string& pattern) { return matches_pattern(pattern, tensor); });
}

void check_frozen(const ModelSpec& model, const std::string& place) {
  std::vector<std::string> names;
  for (const NamedTensor& tensor : tensors_of(model_parameters(model))) names.push_back(tensor.name);
  for (const std::string& pattern : model.frozen) check_pattern_matches(pattern, names, place);
  if (std::none_of(names.begin(), names.end(), [&](const std::string& name) { return model.trains(name); }))
    throw UserError("{}: the patterns match every tensor of the model, so nothing is left to train", place);
}

}  // namespace collie
