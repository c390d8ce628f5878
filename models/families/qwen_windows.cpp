#include "models/families/qwen_windows.hpp"

namespace collie {

void read_qwen_windows(ConfigReader& reader, ModelConfig& config) {
  const bool slides = reader.flag("use_sliding_window");
  const int64_t window = reader.size("sliding_window", model_limits::tokens, 4096);
  const auto first = static_cast<int64_t>(reader.number("max_window_layers", 28, 0, false));
  const nlohmann::json& kinds = reader.value("layer_types");
  if (!slides) return reader.ignore("layer_types");
  if (!kinds.is_null() &&
      (!kinds.is_array() || static_cast<int64_t>(kinds.size()) != config.num_hidden_layers))
    reader.refuse("layer_types", kinds, fmt::format("it must list {} layers", config.num_hidden_layers));
  bool any = false;
  for (int64_t block = 0; block < config.num_hidden_layers; ++block) {
    const bool windowed =
        kinds.is_null() ? block >= first : kinds[static_cast<size_t>(block)] == "sliding_attention";
    config.blocks.push_back({.window = windowed ? window : 0});
    any = any || windowed;
  }
  if (!any) config.blocks.clear();
}

void write_qwen_windows(const ModelConfig& config, nlohmann::json& object) {
  object["use_sliding_window"] = !config.blocks.empty();
  if (config.blocks.empty()) return;
  object["layer_types"] = nlohmann::json::array();
  for (const BlockSettings& block : config.blocks) {
    object["layer_types"].push_back(block.window > 0 ? "sliding_attention" : "full_attention");
    if (block.window > 0) object["sliding_window"] = block.window;
  }
}

}  // namespace collie
