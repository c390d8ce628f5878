#include "peft/adapter_choice.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/error.hpp"
#include "base/quote.hpp"
#include "io/files.hpp"
#include "models/stage_model.hpp"
#include "peft/adapter_config.hpp"
#include "peft/adapter_folder.hpp"
#include "peft/model_of_config.hpp"

namespace collie {
namespace {

bool is_name(const std::string& text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '-' || c == '_';
  });
}

// What is behind the last @, if it is a number.
double take_scale(std::string& text) {
  const size_t at = text.rfind('@');
  if (at == std::string::npos) return 1;
  double scale = 0;
  const char* const end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data() + at + 1, end, scale);
  if (error != std::errc() || stopped != end || !std::isfinite(scale))
    throw UserError("--adapter: found '{}' behind the @ of '{}'; a number is wanted there",
                    shortened(text.substr(at + 1)), shortened(text));
  text.resize(at);
  return scale;
}

AdapterChoice parse(std::string text) {
  AdapterChoice choice;
  if (entry_exists(text)) return {"", text, 1};  // a folder whose name looks like more
  const std::string whole = text;
  choice.scale = take_scale(text);
  if (const size_t equals = text.find('='); equals != std::string::npos) {
    choice.name = text.substr(0, equals);
    text.erase(0, equals + 1);
    if (!is_name(choice.name))
      throw UserError("--adapter: '{}' is no name; letters, digits, - and _ are wanted before the =",
                      shortened(choice.name));
  }
  if (text.empty()) throw UserError("--adapter: '{}' names no folder; [NAME=]DIR[@SCALE] is wanted", whole);
  choice.folder = text;
  return choice;
}

}  // namespace

std::vector<AdapterChoice> parse_adapter_choices(const std::vector<std::string>& texts) {
  std::vector<AdapterChoice> choices;
  for (const std::string& text : texts) {
    AdapterChoice choice = parse(text);
    if (choice.name.empty() && texts.size() > 1) choice.name = fmt::format("adapter_{}", choices.size());
    for (const AdapterChoice& other : choices)
      if (other.name == choice.name)
        throw UserError("--adapter: two have the name '{}'; a name each is wanted", choice.name);
    choices.push_back(std::move(choice));
  }
  if (choices.size() == 1) choices.front().name.clear();
  return choices;
}

nlohmann::json to_json(const std::vector<AdapterChoice>& choices) {
  nlohmann::json json = nlohmann::json::array();
  for (const AdapterChoice& choice : choices)
    json.push_back({{"name", choice.name}, {"folder", choice.folder}, {"scale", choice.scale}});
  return json;
}

std::vector<AdapterChoice> adapter_choices_of(const nlohmann::json& json) {
  std::vector<AdapterChoice> choices;
  for (const nlohmann::json& each : json)
    choices.push_back({each.at("name").get<std::string>(), each.at("folder").get<std::string>(),
                       each.at("scale").get<double>()});
  return choices;
}

// What of an adapter is more than low-rank ones, so that it cannot be added to others, or scaled; "" if
// nothing is.
static std::string more_than_low_rank(const PeftSection& peft, const ModelSpec& model) {
  if (peft.type != "lora") return fmt::format("is of type {}", peft.type);
  if (peft.use_dora) return "has magnitudes (use_dora)";
  if (!peft.modules_to_save.empty()) return "has whole modules (modules_to_save)";
  for (const Parameter& parameter : model_parameters(model))
    if (parameter.is_saved && !parameter.is_adapter) return "has biases";
  return "";
}

ModelSpec with_adapters(const ModelSpec& model, const std::vector<AdapterChoice>& choices) {
  ModelSpec all = model.without_adapters();
  for (const AdapterChoice& choice : choices) {
    Config config;
    config.peft.path = choice.folder;
    complete_adapter_config(config);
    const ModelSpec one = model_of_config(config, model.architecture);
    const std::string more = more_than_low_rank(config.peft, one);
    if (choices.size() > 1 && !more.empty())
      throw UserError(
          "--adapter: '{}' {}, so it is more than low-rank adapters and cannot be one of several; give it "
          "alone, or, if it is of matrices, merge it (export --merge)",
          choice.folder, more);
    if (choice.scale != 1 && !more.empty())
      throw UserError(
          "--adapter: '{}' {}, so it is more than low-rank adapters, which cannot be scaled by {}; 1 is "
          "right",
          choice.folder, more, choice.scale);
    AdapterFolder(choice.folder).check(one);
    if (choices.size() == 1) {  // what else is in its folder
      all.trained = one.trained;
      all.vectors = one.vectors;
      all.prompt = one.prompt;
      all.bottleneck = one.bottleneck;
    }
    for (const auto& [matrix, adapters] : one.adapters)
      for (LowRankAdapter adapter : adapters) {
        adapter.name = choice.name;
        adapter.scale *= choice.scale;
        adapter.dropout = 0;
        all.adapters[matrix].push_back(std::move(adapter));
      }
  }
  return all;
}

}  // namespace collie
