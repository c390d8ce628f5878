// Gemma 3's text model (arXiv 2503.19786): Gemma 2's blocks with norms of query and key heads in the place of
// the cap of scores; blocks with a window have rotary positions of their own.
#include "base/error.hpp"
#include "models/families/gemma_blocks.hpp"
#include "models/families/rotary_keys.hpp"

namespace collie {
namespace {

using nlohmann::json;

constexpr double global_theta = 1e6, local_theta = 1e4;  // transformers' defaults

// The base of the blocks of one kind: from rope_parameters.<kind> (transformers 5), or from a key of its own.
double read_theta(ConfigReader& reader, const char* kind, const char* older_key, double otherwise) {
  const json& older = reader.value(older_key);
  const double theta = reader.number(older_key, otherwise, 0, true);
  const json& both = reader.value("rope_parameters");
  if (both.is_null() || !both.contains(kind) || both.at(kind).is_null()) return theta;
  if (!both.at(kind).is_object())
    reader.refuse("rope_parameters", both, fmt::format("its {} must be an object", kind));
  ConfigReader inner(both.at(kind), reader.where() + ": rope_parameters: " + kind);
  const json& type = inner.value("rope_type");
  if (!type.is_null() && type != "default")
    inner.refuse("rope_type", type, "the engine has no rope scaling of one kind of blocks, only \"default\"");
  const double newer = inner.number("rope_theta", theta, 0, true);
  for (const auto& [key, value] : both.at(kind).items())
    if (!inner.seen().count(key) && !is_off(value))
      inner.refuse(key, value, "the engine has no such rotary feature");
  if (!older.is_null() && newer != theta)
    reader.refuse(older_key, older,
                  fmt::format("rope_parameters.{}.rope_theta says {}: they must agree", kind, newer));
  return newer;
}

void check_rope_parameters(ConfigReader& reader) {
  const json& both = reader.value("rope_parameters");
  if (both.is_null()) return;
  if (!both.is_object()) reader.refuse("rope_parameters", both, "it must be an object");
  for (const auto& [key, value] : both.items())
    if (key != "full_attention" && key != "sliding_attention")
      reader.refuse("rope_parameters", both,
                    fmt::format("found {} in it; full_attention and sliding_attention are wanted, an object "
                                "each",
                                key));
}

void read_gemma3_text(ConfigReader& reader, ModelConfig& config) {
  const auto pattern = reader.size("sliding_window_pattern", model_limits::layers, 6);
  read_gemma_blocks(reader, {.windows_before_full = pattern - 1}, config);
  config.max_position_embeddings = reader.size("max_position_embeddings", model_limits::tokens, 131072);
  config.query_key_norm = true;
  config.rotary_dim = config.head_dim;
  const json& scaling = reader.value("rope_scaling");
  if (!is_off(scaling))
    reader.refuse("rope_scaling", scaling,
                  "the engine has no rope scaling of one kind of blocks: it must be null");
  check_rope_parameters(reader);
  config.rope_theta = read_theta(reader, "full_attention", "rope_theta", global_theta);
  const double local = read_theta(reader, "sliding_attention", "rope_local_base_freq", local_theta);
  for (BlockSettings& block : config.blocks)
    if (block.window > 0) block.rope_theta = local;
}

void write_gemma3_text(const ModelConfig& config, json& object) {
  write_gemma_blocks(config, object);
  object["rope_theta"] = config.rope_theta;
  double local = local_theta;
  for (const BlockSettings& block : config.blocks)
    if (block.window > 0) local = block.rope_theta;
  object["rope_local_base_freq"] = local;
  object["rope_parameters"] = {
      {"full_attention", {{"rope_theta", config.rope_theta}, {"rope_type", "default"}}},
      {"sliding_attention", {{"rope_theta", local}, {"rope_type", "default"}}}};
}

}  // namespace

const Family& gemma3_text_family() {
  static const Family family = {
      .model_type = "gemma3_text",
      .architecture = "Gemma3ForCausalLM",
      .ignored = {"*.rotary_emb.inv_freq"},
      .read = read_gemma3_text,
      .write = write_gemma3_text,
      .add_block = add_gemma_block,
  };
  return family;
}

}  // namespace collie
