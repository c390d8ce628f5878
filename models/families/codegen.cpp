// CodeGen (arXiv 2203.13474) and MOSS-003-moon (Sun et al., "MOSS: An Open Conversational Large Language
// Model", 2024): GPT-J's blocks with queries, values and keys in one matrix, in the four parts in which
// CodeGen was trained.
#include "base/error.hpp"
#include "models/families/gptj_blocks.hpp"

namespace collie {
namespace {

constexpr int64_t trained_parts = 4;

void read_codegen(ConfigReader& reader, ModelConfig& config) {
  read_gptj_blocks(reader, config);
  if (config.hidden_size % trained_parts != 0)
    reader.refuse("n_embd", config.hidden_size,
                  fmt::format("queries, keys and values stand in {} parts: it must be a multiple of that",
                              trained_parts));
}

// MOSS's own code; wbits and groupsize are of its quantised copies.
void read_moss(ConfigReader& reader, ModelConfig& config) {
  read_codegen(reader, config);
  if (const nlohmann::json& bits = reader.value("wbits"); !is_off(bits) && bits != 32)
    reader.refuse("wbits", bits, "the engine does not read MOSS's quantised weights; 32 is right");
  reader.ignore("groupsize");
  reader.ignore("auto_map");
}

void write_moss(const ModelConfig& config, nlohmann::json& object) {
  write_gptj_blocks(config, object);
  object["auto_map"] = {{"AutoConfig", "configuration_moss.MossConfig"},
                        {"AutoModel", "modeling_moss.MossModel"},
                        {"AutoModelForCausalLM", "modeling_moss.MossForCausalLM"}};
}

void add_codegen_qkv(LayerParameters& layer, const std::string& prefix, BlockIds& ids) {
  ids.qkv = layer.add_parted_qkv(prefix + "qkv_proj", trained_parts);
}

BlockIds add_codegen(LayerParameters& layer, int64_t block) {
  return add_gptj_block(layer, block, add_codegen_qkv);
}

}  // namespace

const Family& codegen_family() {
  static const Family family = {
      .model_type = "codegen",
      .architecture = "CodeGenForCausalLM",
      .keys = gptj_sizes(),
      .names = gptj_names(),
      .ignored = {"*.attn.causal_mask", "*.embed_positions"},
      .read = read_codegen,
      .write = write_gptj_blocks,
      .add_block = add_codegen,
  };
  return family;
}

const Family& moss_family() {
  static const Family family = {
      .model_type = "moss",
      .architecture = "MossForCausalLM",
      .keys = gptj_sizes(),
      .names = gptj_names(),
      .ignored = {"*.attn.causal_mask"},
      .read = read_moss,
      .write = write_moss,
      .add_block = add_codegen,
  };
  return family;
}

}  // namespace collie
