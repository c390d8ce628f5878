// The keys of each family, its defaults, and what is refused of them.
#include <cmath>

#include "models/rotary.hpp"
#include "tests/catch.hpp"
#include "tests/models/config_keys.hpp"

using namespace collie;
using namespace collie::test;

namespace {

json minimal_gpt2() {
  return {{"model_type", "gpt2"}, {"n_embd", 64}, {"n_layer", 4}, {"n_head", 8}, {"vocab_size", 96}};
}

json minimal_qwen2() {
  json object = minimal();
  object["model_type"] = "qwen2";
  return object;
}

}  // namespace

TEST_CASE("GPT-2's configuration has its own keys and transformers' defaults", "[config][family]") {
  const ModelConfig config = parse(minimal_gpt2());
  CHECK(config.hidden_size == 64);
  CHECK(config.intermediate_size == 256);
  CHECK(config.num_key_value_heads == 8);
  CHECK(config.head_dim == 8);
  CHECK(config.max_position_embeddings == 1024);
  CHECK(config.norm.kind == NormKind::layer);
  CHECK(config.norm.eps == 1e-5);
  CHECK(config.norm.bias);
  CHECK(config.activation == Activation::gelu_tanh);
  CHECK_FALSE(config.gated_mlp);
  CHECK(config.positions == Positions::learned);
  CHECK(config.tie_word_embeddings);
  CHECK(config.dropout.residual == 0.1);
  CHECK(config.residual_initializer_factor == Approx(1 / std::sqrt(8.0)));
  CHECK(config.blocks.empty());
  const ModelConfig scaled = parse(merged(minimal_gpt2(), {{"scale_attn_by_inverse_layer_idx", true}}));
  CHECK(scaled.block(1).score_scale == Approx(1 / std::sqrt(8.0) / 2));
  const ModelConfig unscaled = parse(merged(minimal_gpt2(), {{"scale_attn_weights", false}}));
  CHECK(unscaled.block(3).score_scale == 1);
  // What published files say beside that.
  CHECK(
      parse(merged(minimal_gpt2(), {{"n_ctx", 1024},
                                    {"n_inner", nullptr},
                                    {"reorder_and_upcast_attn", true},
                                    {"summary_type", "cls_index"},
                                    {"summary_use_proj", true},
                                    {"summary_proj_to_labels", true},
                                    {"summary_first_dropout", 0.1},
                                    {"task_specific_params", {{"text-generation", {{"do_sample", true}}}}}}))
          .hidden_size == 64);
  check_says(message_of([&] { parse(merged(minimal_gpt2(), {{"n_head", 7}})); }), {"n_embd 64", "n_head 7"});
  check_says(message_of([&] {
               parse(merged(minimal_gpt2(), {{"n_embed", 7}}));
             }),
             {"n_embed is 7", "n_embd"});
  check_says(message_of([&] {
               parse(merged(minimal_gpt2(), {{"activation_function", "tanh"}}));
             }),
             {"activation_function", "\"tanh\"", "gelu_new"});
  check_says(message_of([&] {
               parse(merged(minimal_gpt2(), {{"add_cross_attention", true}}));
             }),
             {"add_cross_attention", "cross attention"});
}

TEST_CASE("GPT-NeoX rotates a part of each head, under either name", "[config][family]") {
  const json minimal_neox = merged(minimal(), {{"model_type", "gpt_neox"}, {"hidden_size", 128}});
  const ModelConfig config = parse(minimal_neox);
  CHECK(config.head_dim == 16);
  CHECK(config.rotary_dim == 4);
  CHECK(config.parallel_branches);
  CHECK(config.norm.bias);
  CHECK(parse(merged(minimal_neox, {{"rotary_pct", 0.5}})).rotary_dim == 8);
  CHECK(parse(merged(minimal_neox, {{"rope_parameters", {{"partial_rotary_factor", 1.0}}}})).rotary_dim ==
        16);
  CHECK(parse(merged(minimal_neox, {{"rotary_emb_base", 500}})).rope_theta == 500);
  CHECK_FALSE(parse(merged(minimal_neox, {{"use_parallel_residual", false}})).parallel_branches);
  check_says(message_of([&] {
               parse(merged(minimal_neox, {{"rotary_pct", 0.2}}));
             }),
             {"rotary_pct is 0.2", "16 channels"});
  check_says(message_of([&] { parse(merged(minimal_neox, {{"hidden_size", 32}})); }), {"rotary_pct", "even"});
}

TEST_CASE("Qwen2's windows are of the blocks that have them", "[config][family]") {
  const ModelConfig config = parse(merged(
      minimal_qwen2(), {{"sliding_window", 4096}, {"max_window_layers", 2}, {"use_sliding_window", false}}));
  CHECK(config.blocks.empty());
  CHECK(config.qkv_bias);
  CHECK_FALSE(config.output_bias);
  const ModelConfig windowed = parse(merged(
      minimal_qwen2(), {{"sliding_window", 16}, {"max_window_layers", 3}, {"use_sliding_window", true}}));
  CHECK(windowed.block(2).window == 0);
  CHECK(windowed.block(3).window == 16);
  check_says(
      message_of([&] {
        parse(merged(minimal_qwen2(), {{"use_sliding_window", true}, {"layer_types", {"full_attention"}}}));
      }),
      {"layer_types", "5 layers"});
}

namespace {

json minimal_of(const char* model_type) {
  json object = minimal();
  object["model_type"] = model_type;
  return object;
}

}  // namespace

TEST_CASE("Gemma 2 has transformers' defaults, and null switches a cap off", "[config][family]") {
  const json minimal_gemma2 = minimal_of("gemma2");
  const ModelConfig config = parse(minimal_gemma2);
  CHECK(config.head_dim == 256);
  CHECK(config.rotary_dim == 256);
  CHECK(config.num_key_value_heads == 4);
  CHECK(config.norm.weight_offset == 1);
  CHECK(config.embedding_scale == 8);
  CHECK(config.logit_soft_cap == 30);
  CHECK(config.tie_word_embeddings);
  for (const int64_t block : {0, 1, 2, 3, 4}) {
    CHECK(config.block(block).window == (block % 2 == 0 ? 4096 : 0));
    CHECK(config.block(block).soft_cap == 50);
    CHECK(config.block(block).score_scale == 1.0 / 16);
  }
  const ModelConfig plain = parse(
      merged(minimal_gemma2, {{"attn_logit_softcapping", nullptr}, {"final_logit_softcapping", nullptr}}));
  CHECK(plain.logit_soft_cap == 0);
  CHECK(plain.block(0).soft_cap == 0);
  const ModelConfig set = parse(merged(minimal_gemma2, {{"attn_logit_softcapping", 20},
                                                        {"final_logit_softcapping", 10.5},
                                                        {"query_pre_attn_scalar", 144},
                                                        {"sliding_window", 16},
                                                        {"cache_implementation", "hybrid"},
                                                        {"hidden_act", "gelu"}}));
  CHECK(set.logit_soft_cap == 10.5);
  CHECK(set.block(4).soft_cap == 20);
  CHECK(set.block(4).window == 16);
  CHECK(set.block(4).score_scale == Approx(1.0 / 12));
  const auto refused = [&](const json& changes) {
    return message_of([&] { parse(merged(minimal_gemma2, changes)); });
  };
  check_says(refused({{"final_logit_softcapping", 0}}), {"final_logit_softcapping is 0", "above 0"});
  check_says(refused({{"attn_logit_softcapping", -1}}), {"attn_logit_softcapping is -1"});
  check_says(refused({{"layer_types", {"full_attention"}}}), {"layer_types", "5 layers"});
  check_says(refused({{"layer_types", {"a", "b", "c", "d", "e"}}}),
             {"layer_types is \"a\"", "full_attention, sliding_attention"});
  check_says(refused({{"use_bidirectional_attention", true}}), {"use_bidirectional_attention", "maths"});
}

TEST_CASE("Gemma 3's blocks with windows have rotary positions of their own", "[config][family]") {
  const json minimal_gemma3 = minimal_of("gemma3_text");
  const ModelConfig config = parse(merged(minimal_gemma3, {{"sliding_window_pattern", 2}}));
  CHECK(config.rope_theta == 1e6);
  CHECK(config.query_key_norm);
  CHECK(config.logit_soft_cap == 0);
  for (const int64_t block : {0, 1, 2, 3, 4}) {
    CHECK(config.block(block).rope_theta == (block % 2 == 0 ? 1e4 : 0));
    CHECK(config.block(block).window == (block % 2 == 0 ? 4096 : 0));
  }
  CHECK(parse(minimal_gemma3).block(4).window == 4096);  // every sixth sees everything
  const json newer = {{"full_attention", {{"rope_theta", 5e5}, {"rope_type", "default"}}},
                      {"sliding_attention", {{"rope_theta", 500}, {"rope_type", "default"}}}};
  const ModelConfig changed = parse(merged(minimal_gemma3, {{"rope_parameters", newer}}));
  CHECK(changed.rope_theta == 5e5);
  CHECK(changed.block(0).rope_theta == 500);
  const ModelConfig older =
      parse(merged(minimal_gemma3, {{"rope_theta", 2e6}, {"rope_local_base_freq", 300}}));
  CHECK(older.rope_theta == 2e6);
  CHECK(older.block(0).rope_theta == 300);
  const auto refused = [&](const json& changes) {
    return message_of([&] { parse(merged(minimal_gemma3, changes)); });
  };
  check_says(refused({{"rope_parameters", newer}, {"rope_local_base_freq", 300}}),
             {"rope_local_base_freq is 300", "500"});
  const json linear = {{"rope_type", "linear"}, {"factor", 8.0}};
  for (const json& scaled :
       {json{{"rope_scaling", linear}}, json{{"rope_parameters", {{"full_attention", linear}}}},
        json{{"rope_scaling", linear}, {"rope_parameters", {{"full_attention", linear}}}}}) {
    const ModelConfig with_scaling = parse(merged(minimal_gemma3, scaled));
    CHECK(with_scaling.rope_scaling.kind == RopeScalingKind::linear);
    CHECK(with_scaling.rope_scaling.factor == 8);
    CHECK(with_rotation_of(with_scaling, 0).rope_scaling.kind == RopeScalingKind::none);  // it has a window
    CHECK(with_rotation_of(parse(merged(minimal_gemma3, merged(scaled, {{"sliding_window_pattern", 1}}))), 0)
              .rope_scaling.factor == 8);
  }
  check_says(refused({{"rope_scaling", linear}, {"rope_parameters", newer}}), {"rope_scaling", "agree"});
  check_says(refused({{"rope_parameters", {{"sliding_attention", linear}}}}),
             {"sliding_attention", "rope_type is \"linear\""});
  check_says(refused({{"rope_scaling",
                       {{"rope_type", "longrope"},
                        {"original_max_position_embeddings", 64},
                        {"short_factor", std::vector<int>(128, 1)},
                        {"long_factor", std::vector<int>(128, 2)}}}}),
             {"rope_scaling", "longrope", "linear"});
  check_says(refused({{"rope_parameters", {{"rope_theta", 1e4}}}}), {"rope_parameters", "sliding_attention"});
  check_says(refused({{"attn_logit_softcapping", 50}}), {"attn_logit_softcapping is 50"});
}

namespace {

json minimal_chatglm() {
  return {{"model_type", "chatglm"},    {"hidden_size", 64},
          {"ffn_hidden_size", 96},      {"num_layers", 4},
          {"num_attention_heads", 8},   {"kv_channels", 8},
          {"multi_query_group_num", 2}, {"multi_query_attention", true},
          {"padded_vocab_size", 512},   {"add_qkv_bias", true}};
}

json minimal_chatglm_6b() {
  return {{"model_type", "chatglm"},
          {"hidden_size", 64},
          {"inner_hidden_size", 96},
          {"num_layers", 8},
          {"vocab_size", 512},
          {"num_attention_heads", 8},
          {"position_encoding_2d", true},
          {"bos_token_id", 4},
          {"gmask_token_id", 1},
          {"mask_token_id", 0}};
}

json minimal_gptj(const char* model_type) {
  return {{"model_type", model_type}, {"n_embd", 64},    {"n_layer", 4}, {"n_head", 8},
          {"rotary_dim", 4},          {"vocab_size", 96}};
}

}  // namespace

TEST_CASE("ChatGLM-6B is told from ChatGLM2 by its keys, and what it cannot do without is asked for",
          "[config][family][blanks]") {
  // What published files say.
  const ModelConfig config = parse(merged(minimal_chatglm_6b(), {{"architectures", {"ChatGLMModel"}},
                                                                 {"auto_map", {{"AutoConfig", "a.B"}}},
                                                                 {"eos_token_id", 5},
                                                                 {"pad_token_id", 3},
                                                                 {"layernorm_epsilon", 1e-6},
                                                                 {"max_sequence_length", 1024},
                                                                 {"pre_seq_len", nullptr},
                                                                 {"prefix_projection", false},
                                                                 {"quantization_bit", 0},
                                                                 {"quantization_embeddings", false},
                                                                 {"torch_dtype", "float16"},
                                                                 {"use_cache", true}}));
  CHECK(config.model_type == "chatglm_6b");
  CHECK(config.intermediate_size == 96);
  CHECK(config.num_key_value_heads == 8);
  CHECK(config.head_dim == 8);
  CHECK(config.rotary_dim == 4);
  CHECK(config.half_frequencies);
  CHECK(config.residual_scale == Approx(std::sqrt(56.0)));  // whatever num_layers is, as its own code
  CHECK(config.norm.kind == NormKind::layer);
  CHECK(config.norm.eps == 1e-6);
  CHECK(config.max_position_embeddings == 1024);
  CHECK(config.blanks.start == 4);
  CHECK(config.blanks.gmask == 1);
  CHECK(config.blanks.mask == 0);
  CHECK(config.tie_word_embeddings);
  CHECK_FALSE(parse(merged(minimal_chatglm_6b(), {{"tie_word_embeddings", false}})).tie_word_embeddings);
  CHECK(parse(minimal_chatglm()).model_type == "chatglm");
  CHECK(to_hugging_face(config).at("model_type") == "chatglm");
  const auto refused = [&](const json& changes) {
    return message_of([&] { parse(merged(minimal_chatglm_6b(), changes)); });
  };
  check_says(refused({{"position_encoding_2d", false}}), {"position_encoding_2d is false", "true"});
  check_says(refused({{"bos_token_id", nullptr}}), {"bos_token_id is null", "511"});
  check_says(refused({{"gmask_token_id", 512}}), {"gmask_token_id is 512", "511"});
  check_says(refused({{"mask_token_id", 4}}), {"mask_token_id is 4", "bos_token_id"});
  check_says(refused({{"hidden_size", 48}}), {"hidden_size is 48", "multiple of 4"});
  check_says(refused({{"pre_seq_len", 128}}), {"pre_seq_len is 128", "peft.path"});
  check_says(refused({{"quantization_bit", 4}}), {"quantization_bit is 4"});
  check_says(refused({{"multi_query_attention", true}}), {"multi_query_attention is true"});
  check_says(message_of([&] {
               parse(merged(minimal(), {{"model_type", "chatglm_6b"}}));
             }),
             {"chatglm_6b", "the nearest is chatglm"});
}

TEST_CASE("GLM rotates half of each head in neighbouring pairs", "[config][family]") {
  for (const char* model_type : {"glm", "glm4"}) {
    const ModelConfig config = parse(minimal_of(model_type));
    CHECK(config.rotary_pairs == RotaryPairs::neighbours);
    CHECK(config.head_dim == 128);
    CHECK(config.rotary_dim == 64);
    CHECK(config.num_key_value_heads == 2);
    CHECK(config.norm.eps == 1.5625e-7);
    CHECK(config.qkv_bias);
    CHECK_FALSE(config.output_bias);
    CHECK(parse(merged(minimal_of(model_type), {{"partial_rotary_factor", 0.25}})).rotary_dim == 32);
    CHECK_FALSE(parse(merged(minimal_of(model_type), {{"attention_bias", false}})).qkv_bias);
  }
}

TEST_CASE("ChatGLM's own keys are read, and what its code can do beside is refused", "[config][family]") {
  // What published files say.
  const ModelConfig config = parse(merged(minimal_chatglm(), {{"apply_query_key_layer_scaling", true},
                                                              {"attention_softmax_in_fp32", true},
                                                              {"auto_map", {{"AutoConfig", "a.B"}}},
                                                              {"bias_dropout_fusion", true},
                                                              {"classifier_dropout", nullptr},
                                                              {"fp32_residual_connection", false},
                                                              {"hidden_dropout", 0.0},
                                                              {"original_rope", true},
                                                              {"pre_seq_len", nullptr},
                                                              {"prefix_projection", false},
                                                              {"quantization_bit", 0},
                                                              {"layernorm_epsilon", 1e-6},
                                                              {"rope_ratio", 500},
                                                              {"seq_length", 131072},
                                                              {"num_hidden_layers", 4},
                                                              {"attn_implementation", "sdpa"},
                                                              {"vocab_size", 500}}));
  CHECK(config.vocab_size == 512);
  CHECK(config.max_position_embeddings == 131072);
  CHECK(config.norm.eps == 1e-6);
  CHECK(config.rope_theta == 5e6);
  CHECK(config.rotary_dim == 4);
  CHECK(config.rotary_pairs == RotaryPairs::neighbours);
  CHECK(config.num_key_value_heads == 2);
  CHECK(config.qkv_bias);
  CHECK_FALSE(config.tie_word_embeddings);
  const auto refused = [&](const json& changes) {
    return message_of([&] { parse(merged(minimal_chatglm(), changes)); });
  };
  check_says(refused({{"multi_query_attention", false}}), {"multi_query_attention is false", "true"});
  check_says(refused({{"num_hidden_layers", 5}}), {"num_hidden_layers is 5", "num_layers says 4"});
  check_says(refused({{"rmsnorm", false}}), {"rmsnorm is false", "RMSNorm"});
  check_says(refused({{"add_bias_linear", true}}), {"add_bias_linear is true"});
  check_says(refused({{"post_layer_norm", false}}), {"post_layer_norm is false"});
  check_says(refused({{"apply_residual_connection_post_layernorm", true}}),
             {"apply_residual_connection_post_layernorm is true"});
  check_says(refused({{"pre_seq_len", 128}}), {"pre_seq_len is 128"});
  check_says(refused({{"quantization_bit", 4}}), {"quantization_bit is 4"});
  check_says(refused({{"kv_channels", 6}}), {"kv_channels is 6", "multiple of 4"});
}

TEST_CASE("GPT-J's kin have one norm a block, and a bias of the head", "[config][family]") {
  for (const char* model_type : {"gptj", "codegen", "moss"}) {
    CAPTURE(model_type);
    const ModelConfig config = parse(minimal_gptj(model_type));
    CHECK(config.intermediate_size == 256);
    CHECK(config.rotary_dim == 4);
    CHECK(config.rotary_pairs == RotaryPairs::neighbours);
    CHECK(config.head_bias);
    CHECK(config.mlp_bias);
    CHECK_FALSE(config.qkv_bias);
    CHECK(config.parallel_branches);
    CHECK_FALSE(config.tie_word_embeddings);
    // What published files say.
    CHECK(parse(merged(minimal_gptj(model_type), {{"rotary", true},
                                                  {"n_inner", nullptr},
                                                  {"n_ctx", 2048},
                                                  {"gradient_checkpointing", false},
                                                  {"scale_attn_weights", true},
                                                  {"summary_type", "cls_index"},
                                                  {"summary_use_proj", true},
                                                  {"summary_proj_to_labels", true},
                                                  {"summary_first_dropout", 0.1}}))
              .intermediate_size == 256);
    check_says(message_of([&] {
                 parse(merged(minimal_gptj(model_type), {{"rotary_dim", 10}}));
               }),
               {"rotary_dim is 10", "8 channels"});
  }
  CHECK(parse(merged(minimal_gptj("moss"), {{"wbits", 32}, {"groupsize", 128}})).hidden_size == 64);
  check_says(message_of([&] { parse(merged(minimal_gptj("moss"), {{"wbits", 4}})); }), {"wbits is 4", "32"});
  check_says(message_of([&] {
               parse(merged(minimal_gptj("codegen"), {{"n_embd", 42}, {"n_head", 7}}));
             }),
             {"n_embd is 42", "4 parts"});
}

namespace {

// The 40B's form.
json minimal_falcon() {
  return {
      {"model_type", "falcon"},   {"hidden_size", 64}, {"num_hidden_layers", 4},          {"vocab_size", 96},
      {"num_attention_heads", 8}, {"num_kv_heads", 2}, {"new_decoder_architecture", true}};
}

}  // namespace

TEST_CASE("Falcon's three forms are told apart as its code does", "[config][family]") {
  const auto changed = [](const json& changes) { return parse(merged(minimal_falcon(), changes)); };
  const ModelConfig groups = parse(minimal_falcon());
  CHECK(groups.num_key_value_heads == 2);
  CHECK(groups.intermediate_size == 256);
  CHECK(groups.parallel_branches);
  CHECK_FALSE(groups.one_norm);
  CHECK_FALSE(groups.qkv_bias);
  CHECK(groups.norm.bias);
  CHECK(groups.tie_word_embeddings);
  CHECK(groups.activation == Activation::gelu);
  CHECK(groups.max_position_embeddings == 2048);
  // What the 11B's file says.
  const ModelConfig shared = changed({{"num_ln_in_parallel_attn", 1},
                                      {"alibi", false},
                                      {"bias", false},
                                      {"ff_factor", 4},
                                      {"ffn_hidden_size", 128},
                                      {"hidden_dropout", 0.0},
                                      {"attention_dropout", 0.0},
                                      {"multi_query", true},
                                      {"parallel_attn", true},
                                      {"rope_theta", 500042.0},
                                      {"rope_scaling", nullptr},
                                      {"tie_word_embeddings", false}});
  CHECK(shared.one_norm);
  CHECK(shared.num_key_value_heads == 2);
  CHECK(shared.intermediate_size == 128);
  CHECK(shared.rope_theta == 500042.0);
  // And the 7B's: num_kv_heads is not read.
  const ModelConfig first =
      changed({{"new_decoder_architecture", false}, {"multi_query", true}, {"num_kv_heads", 8}});
  CHECK(first.num_key_value_heads == 1);
  CHECK(first.one_norm);
  const ModelConfig sequential = changed({{"new_decoder_architecture", false},
                                          {"multi_query", false},
                                          {"parallel_attn", false},
                                          {"num_kv_heads", nullptr},
                                          {"bias", true}});
  CHECK(sequential.num_key_value_heads == 8);
  CHECK_FALSE(sequential.parallel_branches);
  CHECK_FALSE(sequential.one_norm);
  CHECK(sequential.qkv_bias);
  CHECK(sequential.output_bias);
  CHECK(sequential.mlp_bias);
}

TEST_CASE("what Falcon's files may say and the engine lacks is refused by its key", "[config][family]") {
  const auto refused = [](const json& changes) {
    return message_of([&] { parse(merged(minimal_falcon(), changes)); });
  };
  check_says(refused({{"alibi", true}}), {"alibi is true", "ALiBi", "false"});
  check_says(refused({{"hidden_dropout", 0.1}}), {"hidden_dropout is 0.1", "0 is right"});
  check_says(refused({{"attention_dropout", 0.1}}), {"attention_dropout is 0.1", "0 is right"});
  check_says(refused({{"parallel_attn", false}}), {"parallel_attn is false", "new_decoder_architecture"});
  check_says(refused({{"num_ln_in_parallel_attn", 3}}), {"num_ln_in_parallel_attn is 3", "from 1 to 2"});
  check_says(refused({{"new_decoder_architecture", false}, {"num_ln_in_parallel_attn", 2}}),
             {"num_ln_in_parallel_attn is 2", "1 is right"});
  check_says(refused({{"new_decoder_architecture", false}, {"multi_query", false}}),
             {"num_kv_heads is 2", "num_attention_heads, 8"});
  check_says(refused({{"activation", "tanh"}}), {"activation is \"tanh\"", "gelu"});
}

TEST_CASE("StarCoder2's defaults are those of its code", "[config][family]") {
  const json starcoder2 = minimal_of("starcoder2");
  const ModelConfig config = parse(starcoder2);
  CHECK(config.num_key_value_heads == 2);
  CHECK(config.head_dim == 8);
  CHECK(config.rotary_dim == 8);
  CHECK(config.rope_theta == 10000);
  CHECK(config.max_position_embeddings == 4096);
  CHECK(config.activation == Activation::gelu_tanh);
  CHECK_FALSE(config.gated_mlp);
  CHECK_FALSE(config.parallel_branches);
  CHECK(config.norm.kind == NormKind::layer);
  CHECK(config.norm.eps == 1e-5);
  CHECK(config.norm.bias);
  CHECK(config.qkv_bias);
  CHECK(config.output_bias);
  CHECK(config.mlp_bias);
  CHECK(config.tie_word_embeddings);
  CHECK(config.blocks.empty());
  CHECK_FALSE(config.dropout.any());
  CHECK(config.initializer_range == 0.018042);
  CHECK(parse(minimal()).initializer_range == 0.02);  // of the other families
  // What published files say.
  const ModelConfig published = parse(merged(starcoder2, {{"activation_function", "gelu"},
                                                          {"architectures", {"Starcoder2ForCausalLM"}},
                                                          {"attention_dropout", 0.1},
                                                          {"attention_softmax_in_fp32", true},
                                                          {"bos_token_id", 0},
                                                          {"embedding_dropout", 0.15},
                                                          {"eos_token_id", 0},
                                                          {"hidden_act", "gelu_pytorch_tanh"},
                                                          {"initializer_range", 0.01275},
                                                          {"layer_norm_epsilon", 1e-6},
                                                          {"max_position_embeddings", 16384},
                                                          {"mlp_type", "default"},
                                                          {"norm_epsilon", 1e-4},
                                                          {"norm_type", "layer_norm"},
                                                          {"num_key_value_heads", 4},
                                                          {"residual_dropout", 0.2},
                                                          {"rope_theta", 100000},
                                                          {"scale_attention_softmax_in_fp32", true},
                                                          {"scale_attn_weights", true},
                                                          {"sliding_window", 4096},
                                                          {"use_bias", true},
                                                          {"use_cache", true}}));
  CHECK(published.activation == Activation::gelu_tanh);
  CHECK(published.norm.eps == 1e-4);
  CHECK(published.num_key_value_heads == 4);
  CHECK(published.rope_theta == 100000);
  CHECK(published.initializer_range == 0.01275);
  for (const int64_t block : {0, 1, 2, 3, 4}) CHECK(published.block(block).window == 4096);
  CHECK(published.dropout.embedding == 0.15);
  CHECK(published.dropout.attention == 0.1);
  CHECK(published.dropout.residual == 0.2);
}

TEST_CASE("what StarCoder2's files may say and its code lacks is refused by its key", "[config][family]") {
  const auto changed = [](const json& changes) { return parse(merged(minimal_of("starcoder2"), changes)); };
  const ModelConfig plain = changed(
      {{"use_bias", false}, {"sliding_window", nullptr}, {"tie_word_embeddings", false}, {"head_dim", 12}});
  CHECK_FALSE(plain.qkv_bias);
  CHECK_FALSE(plain.output_bias);
  CHECK_FALSE(plain.mlp_bias);
  CHECK(plain.norm.bias);  // they have one nevertheless
  CHECK_FALSE(plain.tie_word_embeddings);
  CHECK(plain.blocks.empty());
  CHECK(plain.head_dim == 12);
  const auto refused = [&](const json& changes) { return message_of([&] { changed(changes); }); };
  check_says(refused({{"num_key_value_heads", nullptr}}), {"num_key_value_heads is null", "a number"});
  check_says(refused({{"num_key_value_heads", 3}}), {"num_attention_heads 8", "num_key_value_heads 3"});
  check_says(refused({{"sliding_window", 0}}), {"sliding_window is 0", "from 1"});
  check_says(refused({{"residual_dropout", 1.0}}), {"residual_dropout is 1", "0 up to"});
  check_says(refused({{"norm_epsilon", -1}}), {"norm_epsilon is -1", "at least 0"});
  check_says(refused({{"use_bias", 1}}), {"use_bias is 1", "true or false"});
  check_says(refused({{"hidden_act", "tanh"}}), {"hidden_act is \"tanh\"", "gelu_pytorch_tanh"});
  check_says(refused({{"norm_type", "rms_norm"}}), {"norm_type is \"rms_norm\"", "\"layer_norm\" is right"});
  check_says(refused({{"mlp_type", "gated"}}), {"mlp_type is \"gated\"", "\"default\" is right"});
  check_says(refused({{"scale_attn_weights", false}}), {"scale_attn_weights is false", "true is right"});
  check_says(refused({{"embd_pdrop", 0.1}}), {"embd_pdrop is 0.1"});
}

TEST_CASE("a part of each head is refused where the family's code rotates all of it", "[config][family]") {
  for (const json& object : {minimal(), minimal_qwen2(), minimal_of("mistral"), minimal_of("qwen3"),
                             minimal_of("gemma"), minimal_falcon(), minimal_of("starcoder2")}) {
    INFO(object.dump());
    CHECK(parse(merged(object, {{"partial_rotary_factor", 1.0}})).rotary_dim == parse(object).head_dim);
    check_says(message_of([&] {
                 parse(merged(object, {{"partial_rotary_factor", 0.5}}));
               }),
               {"config.json: partial_rotary_factor is 0.5", "all of a head's", "1 is right"});
    for (const char* place : {"rope_parameters", "rope_scaling"})
      check_says(message_of([&] {
                   parse(merged(object, {{place, {{"partial_rotary_factor", 0.5}}}}));
                 }),
                 {place, "partial_rotary_factor is 0.5", "1 is right"});
  }
}

TEST_CASE("kinds of models whose name says more are refused with what there is to say", "[config][family]") {
  check_says(refusal({{"model_type", "gemma3"}}), {"\"gemma3\"", "text_config", "gemma3_text"});
}

namespace {

json minimal_phi3() {
  return merged(minimal(), {{"model_type", "phi3"}, {"max_position_embeddings", 64}});
}

const json phi3_longrope = {{"type", "su"}, {"short_factor", two_factors}, {"long_factor", two_factors}};

}  // namespace

TEST_CASE("Mistral's defaults are transformers' where keys are missing, not where they are null",
          "[config][family]") {
  const json mistral = merged(minimal(), {{"model_type", "mistral"}});
  CHECK(parse(mistral).num_key_value_heads == 8);
  CHECK(parse(mistral).block(4).window == 4096);
  CHECK(parse(mistral).max_position_embeddings == 131072);
  CHECK(parse(merged(mistral, {{"sliding_window", nullptr}})).blocks.empty());
  CHECK(parse(merged(mistral, {{"num_attention_heads", 16}, {"num_key_value_heads", nullptr}}))
            .num_key_value_heads == 16);
  CHECK(parse(merged(mistral, {{"num_attention_heads", 16}})).num_key_value_heads == 8);
  // Every position fits into the window.
  CHECK(parse(merged(mistral, {{"max_position_embeddings", 4096}})).blocks.empty());
  CHECK(parse(merged(mistral, {{"max_position_embeddings", 4097}})).block(0).window == 4096);
}

TEST_CASE("Phi-3's longrope has its older names and its own default length", "[config][family]") {
  const ModelConfig config = parse(minimal_phi3());
  CHECK(config.norm.eps == 1e-5);
  CHECK(config.blocks.empty());
  CHECK_FALSE(config.qkv_bias);
  const ModelConfig longer =
      parse(merged(minimal_phi3(), {{"rope_scaling", phi3_longrope},
                                    {"original_max_position_embeddings", 16},
                                    {"auto_map", {{"AutoConfig", "configuration_phi3.Phi3Config"}}},
                                    {"resid_pdrop", 0.25}}));
  CHECK(longer.rope_scaling.kind == RopeScalingKind::longrope);
  CHECK(longer.rope_scaling.original_positions == 16);
  CHECK(longer.dropout.residual == 0.25);
  CHECK(to_hugging_face(longer).at("pad_token_id").is_null());
  CHECK_FALSE(
      to_hugging_face(parse(merged(minimal_phi3(), {{"vocab_size", 32064}}))).contains("pad_token_id"));
  CHECK(parse(merged(minimal_phi3(), {{"rope_scaling", phi3_longrope}})).rope_scaling.original_positions ==
        4096);
  check_says(message_of([] {
               parse(merged(minimal_phi3(), {{"rope_scaling", {{"type", "linear"}, {"factor", 2.0}}}}));
             }),
             {"rope_scaling", "\"linear\"", "known: default, longrope"});
}

TEST_CASE("InternLM's keys are those of its own code", "[config][family]") {
  const json internlm = merged(minimal(), {{"model_type", "internlm"}, {"auto_map", {{"AutoConfig", "x"}}}});
  CHECK(parse(internlm).qkv_bias);
  CHECK(parse(internlm).output_bias);
  CHECK_FALSE(parse(internlm).mlp_bias);
  CHECK_FALSE(parse(merged(internlm, {{"bias", false}})).output_bias);
  CHECK(parse(merged(internlm, {{"rotary", {{"base", 500}, {"type", "origin"}}}})).rope_theta == 500);
  CHECK(parse(merged(internlm, {{"num_key_value_heads", 8}})).num_key_value_heads == 8);
  check_says(message_of([&] {
               parse(merged(internlm, {{"num_key_value_heads", 4}}));
             }),
             {"num_key_value_heads is 4", "as many as num_attention_heads, 8"});
  check_says(message_of([&] {
               parse(merged(internlm, {{"rotary", {{"type", "linear"}}}}));
             }),
             {"rotary: type", "dynamic, origin"});
  const json second =
      merged(minimal(), {{"model_type", "internlm2"}, {"num_key_value_heads", 2}, {"bias", false}});
  CHECK(parse(second).num_key_value_heads == 2);
  CHECK_FALSE(parse(second).qkv_bias);
  check_says(message_of([&] {
               parse(merged(second, {{"rope_scaling", {{"type", "yarn"}, {"factor", 2.0}}}}));
             }),
             {"rope_scaling: type", "dynamic, linear"});
  check_says(message_of([&] {
               parse(merged(second, {{"rope_scaling", {{"type", "dynamic"}}}}));
             }),
             {"rope_scaling: factor"});
}

TEST_CASE("every family survives its way through Hugging Face's form", "[config][family]") {
  for (const json& object :
       {minimal_gpt2(),
        minimal_qwen2(),
        merged(minimal(), {{"model_type", "mistral"}, {"sliding_window", 16}, {"num_key_value_heads", 2}}),
        merged(minimal(), {{"model_type", "mistral"}, {"sliding_window", nullptr}}),
        merged(minimal(), {{"model_type", "internlm"}, {"bias", false}}),
        merged(minimal(), {{"model_type", "internlm"},
                           {"rotary", {{"base", 500.0}, {"type", "dynamic"}, {"scaling_factor", 2.0}}}}),
        merged(minimal(), {{"model_type", "internlm2"},
                           {"num_key_value_heads", 4},
                           {"bias", true},
                           {"rope_theta", 5e5},
                           {"rope_scaling", {{"type", "dynamic"}, {"factor", 2.0}}}}),
        merged(minimal(), {{"model_type", "internlm2"}, {"rope_scaling", nullptr}}),
        merged(minimal_phi3(), {{"sliding_window", 16}, {"resid_pdrop", 0.25}}),
        merged(minimal_phi3(), {{"original_max_position_embeddings", 16},
                                {"partial_rotary_factor", 0.5},
                                {"rope_scaling",
                                 {{"rope_type", "longrope"},
                                  {"factor", 4.0},
                                  {"attention_factor", 1.25},
                                  {"original_max_position_embeddings", 16},
                                  {"short_factor", {1.0, 1.5}},
                                  {"long_factor", {2.0, 2.5}}}}}),
        with({{"rope_scaling", {{"rope_type", "linear"}, {"factor", 2.0}}}}),
        with({{"rope_scaling",
               {{"rope_type", "llama3"},
                {"factor", 8.0},
                {"original_max_position_embeddings", 128},
                {"low_freq_factor", 1.0},
                {"high_freq_factor", 4.0}}}}),
        with({{"rope_parameters",
               {{"rope_theta", 5e5},
                {"rope_type", "yarn"},
                {"factor", 4.0},
                {"original_max_position_embeddings", 128},
                {"attention_factor", 1.5},
                {"beta_fast", 16.0},
                {"beta_slow", 2.0},
                {"truncate", false}}}}),
        merged(minimal(), {{"model_type", "gpt_neox"}, {"rotary_pct", 0.5}, {"hidden_dropout", 0.1}}),
        merged(minimal(), {{"model_type", "qwen3"}, {"head_dim", 32}, {"attention_bias", true}}),
        merged(minimal(), {{"model_type", "gemma"}, {"head_dim", 32}, {"hidden_act", "relu"}}),
        minimal_of("gemma2"),
        merged(minimal_of("gemma2"), {{"final_logit_softcapping", nullptr},
                                      {"attn_logit_softcapping", 10.5},
                                      {"query_pre_attn_scalar", 144},
                                      {"sliding_window", 16}}),
        minimal_of("gemma3_text"),
        minimal_of("glm"),
        merged(minimal_of("glm4"), {{"head_dim", 16}, {"rope_theta", 500.0}}),
        merged(minimal_chatglm(), {{"rope_ratio", 50.0}, {"hidden_dropout", 0.1}}),
        minimal_chatglm_6b(),
        merged(minimal_chatglm_6b(), {{"max_sequence_length", 64}, {"layernorm_epsilon", 1e-6}}),
        minimal_gptj("gptj"),
        minimal_gptj("codegen"),
        minimal_of("starcoder2"),
        merged(minimal_of("starcoder2"), {{"use_bias", false},
                                          {"sliding_window", 16},
                                          {"num_key_value_heads", 4},
                                          {"head_dim", 12},
                                          {"hidden_act", "gelu"},
                                          {"norm_epsilon", 1e-6},
                                          {"rope_theta", 1e5},
                                          {"tie_word_embeddings", false},
                                          {"initializer_range", 0.01275},
                                          {"embedding_dropout", 0.1},
                                          {"attention_dropout", 0.15},
                                          {"residual_dropout", 0.2}}),
        minimal_falcon(),
        merged(minimal_falcon(), {{"num_ln_in_parallel_attn", 1}, {"rope_theta", 500.0}, {"bias", true}}),
        merged(minimal_falcon(),
               {{"new_decoder_architecture", false}, {"multi_query", true}, {"num_kv_heads", 1}}),
        merged(minimal_falcon(), {{"new_decoder_architecture", false},
                                  {"multi_query", false},
                                  {"num_kv_heads", 8},
                                  {"parallel_attn", false},
                                  {"activation", "relu"}}),
        merged(minimal_gptj("moss"), {{"attn_pdrop", 0.1}}),
        merged(minimal_of("gemma3_text"), {{"layer_types",
                                            {"full_attention", "sliding_attention", "sliding_attention",
                                             "full_attention", "full_attention"}},
                                           {"rope_local_base_freq", 300.0},
                                           {"rope_scaling", {{"rope_type", "linear"}, {"factor", 8.0}}},
                                           {"head_dim", 16},
                                           {"final_logit_softcapping", 12.5}}),
        merged(minimal_gpt2(), {{"scale_attn_by_inverse_layer_idx", true},
                                {"n_inner", 100},
                                {"activation_function", "relu"},
                                {"attn_pdrop", 0.25},
                                {"tie_word_embeddings", false}}),
        merged(minimal_gpt2(), {{"scale_attn_weights", false}, {"layer_norm_epsilon", 1e-6}}),
        merged(minimal_qwen2(),
               {{"sliding_window", 16}, {"max_window_layers", 3}, {"use_sliding_window", true}})}) {
    const json written = to_hugging_face(parse(object));
    INFO(written.dump(1));
    CHECK(to_hugging_face(parse(written)) == written);
    for (const auto& [key, value] : object.items())
      if (key != "max_window_layers") CHECK(written.at(key) == value);
  }
}
