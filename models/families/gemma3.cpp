// Gemma 3's text model (arXiv 2503.19786): Gemma 2's blocks with norms of query and key heads in the place of
// the cap of scores; blocks with a window have rotary positions of their own.
#include "base/error.hpp"
#include "io/json_text.hpp"
#include "models/families/gemma_blocks.hpp"
#include "models/families/rope_scaling_keys.hpp"

namespace collie {
namespace {

using nlohmann::json;

// transformers' defaults of the two kinds of blocks.
const RotaryKeys global_rotary = {.theta_otherwise = 1e6}, local_rotary = {.theta = "rope_local_base_freq"};

// What rope_parameters says of one kind of blocks; null if it says nothing.
const json& parameters_of(ConfigReader& reader, const char* kind) {
  static const json null;
  const json& both = reader.value("rope_parameters");
  if (both.is_null()) return null;
  if (!both.is_object()) reader.refuse("rope_parameters", both, "it must be an object");
  for (const auto& [key, value] : both.items())
    if ((key != "full_attention" && key != "sliding_attention") || !(value.is_object() || value.is_null()))
      reader.refuse(
          "rope_parameters", both,
          fmt::format("its {} is {}; an object each of full_attention and sliding_attention is wanted", key,
                      in_short(value)));
  return both.contains(kind) ? both.at(kind) : null;
}

// The base, from there (transformers 5) or from a key of its own.
double read_theta(ConfigReader& reader, ConfigReader& inner, const RotaryKeys& keys) {
  const json& older = reader.value(keys.theta);
  const double theta = reader.number(keys.theta, keys.theta_otherwise, 0, true);
  const double newer = inner.number("rope_theta", theta, 0, true);
  if (!older.is_null() && newer != theta)
    reader.refuse(keys.theta, older,
                  fmt::format("{} says {}: they must agree", inner.place("rope_theta"), newer));
  return newer;
}

ConfigReader reader_of(ConfigReader& reader, const char* kind) {
  return {parameters_of(reader, kind), reader.where() + ": rope_parameters: " + kind};
}

// Of the blocks that see everything: rope_scaling (transformers 4) or rope_parameters, which must agree.
void read_global_rotation(ConfigReader& reader, ModelConfig& config) {
  ConfigReader newer = reader_of(reader, "full_attention");
  config.rope_theta = read_theta(reader, newer, global_rotary);
  config.rope_scaling = read_rope_scaling(newer, reader, global_rotary, config);
  const json& scaling = reader.value("rope_scaling");
  if (!is_off(scaling)) {
    if (!scaling.is_object()) reader.refuse("rope_scaling", scaling, "it must be null or an object");
    ConfigReader older(scaling, reader.where() + ": rope_scaling");
    const RopeScaling taken = read_rope_scaling(older, reader, global_rotary, config);
    refuse_unknown_rotary_keys(older);
    json of_older = json::object(), of_newer = json::object();
    write_rope_scaling(taken, of_older);
    write_rope_scaling(config.rope_scaling, of_newer);
    if (newer.has("rope_type") && of_older != of_newer)
      reader.refuse("rope_scaling", scaling,
                    fmt::format("rope_parameters says {}: they must agree", in_short(newer.object())));
    config.rope_scaling = taken;
  }
  if (config.rope_scaling.kind == RopeScalingKind::longrope)
    throw UserError(
        "{}: longrope, which the engine does not have for some of a model's blocks; linear, "
        "dynamic, llama3, yarn and default are right",
        reader.place(scaling.is_null() ? "rope_parameters" : "rope_scaling"));
  refuse_unknown_rotary_keys(newer);
}

// Of those with a window, which is never scaled.
void read_local_rotation(ConfigReader& reader, ModelConfig& config) {
  ConfigReader newer = reader_of(reader, "sliding_attention");
  const json& type = newer.value("rope_type");
  if (!type.is_null() && type != "default")
    newer.refuse("rope_type", type, "blocks with a window are not scaled: \"default\" is right");
  const double theta = read_theta(reader, newer, local_rotary);
  refuse_unknown_rotary_keys(newer);
  for (BlockSettings& block : config.blocks)
    if (block.window > 0) block.rope_theta = theta;
}

void read_gemma3_text(ConfigReader& reader, ModelConfig& config) {
  const auto pattern = reader.size("sliding_window_pattern", model_limits::layers, 6);
  read_gemma_blocks(reader, {.windows_before_full = pattern - 1}, config);
  config.max_position_embeddings = reader.size("max_position_embeddings", model_limits::tokens, 131072);
  config.query_key_norm = true;
  config.rotary_dim = config.head_dim;
  read_global_rotation(reader, config);
  read_local_rotation(reader, config);
}

void write_gemma3_text(const ModelConfig& config, json& object) {
  write_gemma_blocks(config, object);
  double local = local_rotary.theta_otherwise;
  for (const BlockSettings& block : config.blocks)
    if (block.window > 0) local = block.rope_theta;
  object[global_rotary.theta] = config.rope_theta;
  object[local_rotary.theta] = local;
  json scaling = json::object();
  write_rope_scaling(config.rope_scaling, scaling);
  if (config.rope_scaling.kind != RopeScalingKind::none) object["rope_scaling"] = scaling;
  scaling["rope_theta"] = config.rope_theta;
  object["rope_parameters"] = {{"full_attention", scaling},
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
