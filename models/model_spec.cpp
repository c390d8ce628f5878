#include "models/model_spec.hpp"

#include <algorithm>
#include <functional>

#include "base/error.hpp"
#include "base/name_pattern.hpp"
#include "models/pieces.hpp"
#include "models/stage_model.hpp"

namespace collie {

bool ModelSpec::trains(const std::string& tensor) const {
  const auto matches = [&](const std::string& pattern) { return matches_pattern(pattern, tensor); };
  if (std::any_of(frozen.begin(), frozen.end(), matches)) return false;
  return trained.empty() || std::any_of(trained.begin(), trained.end(), matches);
}

static bool any_adapter(const Adapters& adapters, const std::function<bool(const LowRankAdapter&)>& is) {
  return std::any_of(adapters.begin(), adapters.end(), [&](const auto& of_matrix) {
    return std::any_of(of_matrix.second.begin(), of_matrix.second.end(), is);
  });
}

static bool takes_from_base(const LowRankAdapter& adapter) {
  return adapter.start == AdapterStart::principal || adapter.start == AdapterStart::orthogonal;
}

bool ModelSpec::changes_base() const {
  return any_adapter(adapters, takes_from_base);
}

bool ModelSpec::drops() const {
  return dropout || prompt.encoder.dropout > 0 ||
         any_adapter(adapters, [](const LowRankAdapter& adapter) { return adapter.dropout > 0; });
}

Quantisation ModelSpec::quantisation_of(const std::string& matrix) const {
  const bool is_excepted =
      std::any_of(not_quantised.begin(), not_quantised.end(),
                  [&](const std::string& pattern) { return matches_end_of_name(pattern, matrix); });
  return is_excepted ? Quantisation() : quantisation;
}

ModelSpec ModelSpec::base() const {
  return ModelSpec(architecture, frozen, dropout);
}

ModelSpec ModelSpec::without_adapters() const {
  ModelSpec model = base();
  model.quantisation = quantisation;
  model.not_quantised = not_quantised;
  return model;
}

void check_trained(const ModelSpec& model, const std::vector<std::string>& patterns,
                   const std::string& place) {
  std::vector<std::string> names;
  for (const NamedTensor& tensor : tensors_of(model_parameters(model))) names.push_back(tensor.name);
  for (const std::string& pattern : patterns) check_pattern_matches(pattern, names, place);
  if (std::none_of(names.begin(), names.end(), [&](const std::string& name) { return model.trains(name); }))
    throw UserError("{}: with these patterns nothing is left to train", place);
}

}  // namespace collie
