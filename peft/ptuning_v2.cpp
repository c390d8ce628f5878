#include "peft/ptuning_v2.hpp"

#include <filesystem>

#include "base/error.hpp"
#include "io/files.hpp"
#include "models/config_reader.hpp"
#include "peft/adapter_config.hpp"

namespace collie {

bool is_ptuning_v2_folder(const std::string& folder) {
  const std::filesystem::path path = folder;
  if (std::filesystem::exists(path / adapter_config_name) || !std::filesystem::exists(path / "config.json"))
    return false;
  const ModelKeys keys = read_model_keys(folder);
  return keys.object.contains("pre_seq_len") && !is_off(keys.object.at("pre_seq_len"));
}

nlohmann::ordered_json ptuning_v2_adapter_config(const std::string& folder) {
  const ModelKeys keys = read_model_keys(folder);
  ConfigReader reader(keys);
  if (reader.flag("prefix_projection"))
    reader.refuse("prefix_projection", true,
                  "the engine reads a prefix, and not the encoder that makes one; false is right");
  return {{"peft_type", "PREFIX_TUNING"}, {"num_virtual_tokens", reader.value("pre_seq_len")}};
}

}  // namespace collie
