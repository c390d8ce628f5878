// The adapters that a command uses with a model: --adapter [NAME=]DIR[@SCALE], one or several.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "models/model_spec.hpp"

namespace collie {

struct AdapterChoice {
  std::string name;  // of one of several; empty: the only one
  std::string folder;
  double scale = 1;  // beside the adapter's own
  bool operator==(const AdapterChoice&) const = default;
};

// "[NAME=]DIR[@SCALE]", each. Of several, those without a name get one by their place. Throws UserError that
// begins with "--adapter" for a name that is not one (letters, digits, - and _), that two have, or a scale
// that is no number.
std::vector<AdapterChoice> parse_adapter_choices(const std::vector<std::string>& texts);

nlohmann::json to_json(const std::vector<AdapterChoice>& choices);
std::vector<AdapterChoice> adapter_choices_of(const nlohmann::json& json);

// The model with all of them: what each adds to a matrix is added up. Throws UserError if a folder is no
// adapter's or not of this model, and if one of several has more than adapters (biases, modules saved whole).
ModelSpec with_adapters(const ModelSpec& model, const std::vector<AdapterChoice>& choices);

}  // namespace collie
