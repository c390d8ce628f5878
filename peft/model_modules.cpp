#include "peft/model_modules.hpp"

#include <algorithm>
#include <set>

#include "models/stage_model.hpp"

namespace collie {

std::vector<ModelModule> modules_of(const ModelSpec& model) {
  std::vector<ModelModule> modules;
  for (const Parameter& parameter : model_parameters(model)) {
    const std::string name = parameter.name.substr(0, parameter.name.rfind('.'));
    if (modules.empty() || modules.back().name != name) modules.push_back({name});
    ModelModule& module = modules.back();
    if (!parameter.name.ends_with(".weight")) continue;
    module.is_table = parameter.is_table;
    module.is_matrix = parameter.shape.rank() == 2 && !parameter.is_table;
    if (parameter.shape.rank() == 2) {
      module.out = parameter.shape[0];
      module.in = parameter.shape[1];
    }
  }
  return modules;
}

std::string last_part(const std::string& name) {
  return name.substr(name.rfind('.') + 1);
}

std::optional<int64_t> block_of(const std::string& module) {
  std::string part;
  for (size_t begin = 0; begin <= module.size();) {
    const size_t end = std::min(module.find('.', begin), module.size());
    part = module.substr(begin, end - begin);
    if (!part.empty() && part.size() < 10 && part.find_first_not_of("0123456789") == std::string::npos)
      return std::stoll(part);
    begin = end + 1;
  }
  return std::nullopt;
}

std::string names_in_words(const std::vector<ModelModule>& modules,
                           const std::function<bool(const ModelModule&)>& is) {
  std::string text;
  std::set<std::string> seen;
  for (const ModelModule& module : modules)
    if (is(module) && seen.insert(last_part(module.name)).second)
      text += (text.empty() ? "" : ", ") + last_part(module.name);
  return text;
}

}  // namespace collie
