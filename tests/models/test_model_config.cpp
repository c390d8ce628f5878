#include "models/model_config.hpp"

#include <cmath>
#include <nlohmann/json.hpp>

#include "models/rotary.hpp"
#include "tests/catch.hpp"
#include "tests/io/temporary_folder.hpp"
#include "tests/models/config_keys.hpp"
#include "tests/paths.hpp"

using namespace collie;
using namespace collie::test;
using nlohmann::json;

TEST_CASE("what a config.json leaves out has transformers' defaults", "[config]") {
  const ModelConfig config = parse(minimal());
  CHECK(config.num_key_value_heads == 8);
  CHECK(config.head_dim == 8);
  CHECK(config.max_position_embeddings == 2048);
  CHECK(config.norm.eps == 1e-6);
  CHECK(config.rope_theta == 10000.0);
  CHECK_FALSE(config.tie_word_embeddings);
  CHECK_FALSE(config.qkv_bias);
  CHECK_FALSE(config.output_bias);
  CHECK_FALSE(config.mlp_bias);
  CHECK(config.initializer_range == 0.02);
}

TEST_CASE("null means the default", "[config]") {
  const ModelConfig config = parse(with({{"head_dim", nullptr},
                                         {"num_key_value_heads", nullptr},
                                         {"rope_scaling", nullptr},
                                         {"quantization_config", nullptr}}));
  CHECK(config.head_dim == 8);
  CHECK(config.num_key_value_heads == 8);
}

TEST_CASE("the rotary base is read from the older and the newer place", "[config]") {
  CHECK(parse(with({{"rope_theta", 5e5}})).rope_theta == 5e5);
  CHECK(parse(with({{"rope_theta", 500000}})).rope_theta == 5e5);
  const json newer = {{"rope_theta", 5e5}, {"rope_type", "default"}};
  CHECK(parse(with({{"rope_parameters", newer}})).rope_theta == 5e5);
  CHECK(parse(with({{"rope_parameters", newer}, {"rope_theta", 5e5}})).rope_theta == 5e5);
  CHECK(parse(with({{"rope_parameters", {{"rope_type", "default"}}}, {"rope_theta", 5e5}})).rope_theta ==
        5e5);
  CHECK(parse(with({{"rope_scaling", {{"rope_type", "default"}}}, {"rope_theta", 5e5}})).rope_theta == 5e5);
  check_says(refusal({{"rope_parameters", newer}, {"rope_theta", 1e4}}), {"rope_theta", "500000", "10000"});
}

TEST_CASE("keys that do not change the maths are ignored", "[config]") {
  const ModelConfig config = parse(with({{"architectures", {"LlamaForCausalLM"}},
                                         {"torch_dtype", "bfloat16"},
                                         {"dtype", "float32"},
                                         {"transformers_version", "5.23.0"},
                                         {"use_cache", true},
                                         {"bos_token_id", 1},
                                         {"eos_token_id", {2, 3}},
                                         {"pad_token_id", nullptr},
                                         {"pretraining_tp", 1},
                                         {"attention_dropout", 0.0},
                                         {"_name_or_path", "x"},
                                         {"is_encoder_decoder", false},
                                         {"some_new_feature", false},
                                         {"another_one", nullptr},
                                         {"layer_types", {"full_attention"}}}));
  CHECK(config.hidden_size == 64);
}

TEST_CASE("features that the engine lacks are refused by name", "[config]") {
  check_says(refusal({{"model_type", "mamba"}}), {"config.json", "model_type", "\"mamba\"", "llama"});
  check_says(refusal({{"hidden_act", "tanh"}}), {"hidden_act", "\"tanh\"", "silu"});
  check_says(refusal({{"model_type", "mixtral"}}), {"mixture of experts is not supported yet", "mistral"});
  check_says(refusal({{"model_type", "mistrall"}}), {"mistrall", "the nearest is mistral"});
  check_says(refusal({{"rope_parameters", {{"full_attention", {{"rope_theta", 1e4}}}}}}),
             {"rope_parameters", "full_attention"});
  check_says(refusal({{"partial_rotary_factor", 1.5}}), {"partial_rotary_factor", "1.5", "8 channels"});
  check_says(refusal({{"sliding_window", 4096}}), {"sliding_window", "4096"});
  check_says(refusal({{"layer_types", {"full_attention", "sliding_attention"}}}),
             {"layer_types", "sliding_attention"});
  check_says(refusal({{"quantization_config", {{"bits", 4}}}}), {"quantization_config", "quantised"});
  check_says(refusal({{"attention_dropout", 1.5}}), {"attention_dropout", "1.5"});
  check_says(refusal({{"resid_pdrop", 0.1}}), {"resid_pdrop", "0.1"});
  check_says(refusal({{"logit_scale", 0.0625}}), {"logit_scale", "0.0625", "maths"});
}

namespace {

// The scaling of a configuration with these keys on top, of 64 positions and heads of 8 channels.
RopeScaling scaling_of(const json& changes) {
  json object = with({{"max_position_embeddings", 64}});
  object.update(changes);
  return parse(object).rope_scaling;
}

std::string scaling_refusal(const json& scaling) {
  return message_of([&] { scaling_of({{"rope_scaling", scaling}}); });
}

}  // namespace

TEST_CASE("scaled rotary positions are read under the older and the newer name", "[config][rope]") {
  CHECK(scaling_of(json::object()).kind == RopeScalingKind::none);
  for (const char* place : {"rope_scaling", "rope_parameters"})
    for (const char* key : {"type", "rope_type"}) {
      CAPTURE(place, key);
      const RopeScaling linear = scaling_of({{place, {{key, "linear"}, {"factor", 2}}}});
      CHECK(linear.kind == RopeScalingKind::linear);
      CHECK(linear.factor == 2);
      CHECK(scaling_of({{place, {{key, "dynamic"}, {"factor", 2.5}}}}).kind == RopeScalingKind::dynamic);
    }
  const json both = {{"type", "yarn"}, {"rope_type", "yarn"}, {"factor", 4.0}, {"finetuned", true}};
  const RopeScaling yarn = scaling_of({{"rope_scaling", both}});
  CHECK(yarn.original_positions == 64);
  CHECK(yarn.attention_factor == Approx(0.1 * std::log(4.0) + 1));
  CHECK(yarn.beta_fast == 32);
  CHECK(yarn.beta_slow == 1);
  CHECK(yarn.truncate);
  CHECK(scaling_of({{"rope_scaling", both}, {"original_max_position_embeddings", 16}}).original_positions ==
        16);
  const RopeScaling grown = scaling_of({{"rope_scaling",
                                         {{"rope_type", "longrope"},
                                          {"original_max_position_embeddings", 16},
                                          {"short_factor", two_factors},
                                          {"long_factor", two_factors}}}});
  CHECK(grown.factor == 4);
  CHECK(grown.attention_factor == Approx(std::sqrt(1 + std::log(4.0) / std::log(16.0))));
  CHECK(grown.long_factors == std::vector<double>{1, 1.5, 2, 4});
}

TEST_CASE("what a scaling of rotary positions lacks, or has too much, is refused by key", "[config][rope]") {
  check_says(scaling_refusal({{"rope_type", "proportional"}}),
             {"rope_scaling: rope_type", "longrope", "yarn"});
  check_says(scaling_refusal({{"factor", 2.0}}), {"rope_scaling: factor is 2.0", "rope_type"});
  check_says(scaling_refusal({{"type", "linear"}}), {"rope_scaling: factor", "number above 0"});
  check_says(scaling_refusal({{"type", "linear"}, {"factor", 0}}), {"factor is 0"});
  check_says(scaling_refusal({{"type", "linear"}, {"factor", 2}, {"beta_fast", 32}}), {"beta_fast is 32"});
  check_says(scaling_refusal({{"type", "linear"}, {"rope_type", "yarn"}, {"factor", 2}}),
             {"type", "\"yarn\"", "agree"});
  check_says(scaling_refusal({{"rope_type", "llama3"}, {"factor", 8}}), {"low_freq_factor"});
  check_says(scaling_refusal(
                 {{"rope_type", "llama3"}, {"factor", 8}, {"low_freq_factor", 4}, {"high_freq_factor", 4}}),
             {"high_freq_factor is 4", "above low_freq_factor"});
  check_says(scaling_refusal({{"rope_type", "yarn"}, {"factor", 4}, {"beta_fast", 1}, {"beta_slow", 2}}),
             {"beta_fast is 1", "beta_slow, 2"});
  const json longrope = {{"rope_type", "longrope"}, {"short_factor", two_factors}};
  check_says(scaling_refusal(longrope), {"long_factor", "4 numbers"});
  json odd = longrope;
  odd["long_factor"] = {1, 2, 3};
  check_says(scaling_refusal(odd), {"long_factor", "4 numbers"});
  odd["long_factor"] = {1, 2, 3, 0};
  check_says(scaling_refusal(odd), {"long_factor is 0", "above 0"});
  const json yarn = {{"rope_type", "yarn"}, {"factor", 4}, {"original_max_position_embeddings", 32}};
  check_says(refusal({{"rope_scaling", yarn}, {"original_max_position_embeddings", 16}}),
             {"original_max_position_embeddings is 32", "16", "agree"});
  check_says(refusal({{"rope_scaling", yarn}, {"rope_parameters", {{"rope_type", "default"}}}}),
             {"rope_scaling", "rope_parameters says", "agree"});
  check_says(refusal({{"rope_scaling", "yarn"}}), {"rope_scaling is \"yarn\"", "object"});
}

TEST_CASE("missing, ill-typed and impossible values are refused by name", "[config]") {
  for (const char* key : {"model_type", "hidden_size", "intermediate_size", "num_hidden_layers",
                          "num_attention_heads", "vocab_size"}) {
    json object = minimal();
    object.erase(key);
    check_says(message_of([&] { parse(object); }), {"config.json", key, "missing"});
  }
  check_says(refusal({{"hidden_size", "64"}}), {"hidden_size", "\"64\"", "whole number"});
  check_says(refusal({{"hidden_size", 64.5}}), {"hidden_size", "64.5"});
  check_says(refusal({{"hidden_size", 0}}), {"hidden_size is 0"});
  check_says(refusal({{"hidden_size", -8}}), {"hidden_size is -8"});
  check_says(refusal({{"vocab_size", 1ull << 63}}), {"vocab_size"});
  check_says(refusal({{"hidden_size", 60}}), {"hidden_size 60", "num_attention_heads 8"});
  check_says(refusal({{"num_key_value_heads", 3}}), {"num_attention_heads 8", "num_key_value_heads 3"});
  check_says(refusal({{"head_dim", 7}}), {"head_dim 7", "even"});
  check_says(refusal({{"rms_norm_eps", -1}}), {"rms_norm_eps"});
  check_says(refusal({{"rope_theta", 0}}), {"rope_theta"});
  check_says(refusal({{"tie_word_embeddings", 1}}), {"tie_word_embeddings", "true or false"});
  check_says(message_of([] { parse(json::array()); }), {"config.json", "object"});
}

TEST_CASE("a message about a key begins with where it was given", "[config]") {
  ModelKeys keys{with({{"hidden_size", 0}}), "config.json", {}};
  const auto message = [&] { return message_of([&] { parse_model_config(keys); }); };
  CHECK(message() == "config.json: hidden_size is 0; it must be a whole number from 1 to 1048576");
  keys.origins["hidden_size"] = {"c.yaml:7: model.config.hidden_size", true};
  CHECK(message() == "c.yaml:7: model.config.hidden_size is 0; it must be a whole number from 1 to 1048576");
  keys.object["hidden_size"] = 60;
  CHECK(message() ==
        "c.yaml:7: model.config.hidden_size 60 is no multiple of num_attention_heads 8; without head_dim it "
        "must be");
}

TEST_CASE("an unknown key is refused with the nearest known one", "[config]") {
  check_says(refusal({{"hiden_size", 64}}),
             {"config.json: hiden_size", "the nearest key that it knows is hidden_size"});
  CHECK(refusal({{"some_new_feature", 1}}).find("nearest") == std::string::npos);
}

TEST_CASE("an unknown key that is off is a mistake in the engine's own configuration alone", "[config]") {
  ModelKeys keys{with({{"hiden_size", nullptr}, {"tie_word_embedding", false}}), "config.json", {}};
  CHECK(parse_model_config(keys).hidden_size == 64);
  keys.origins["tie_word_embedding"] = {"c.yaml:7: model.config.tie_word_embedding", true};
  check_says(message_of([&] { parse_model_config(keys); }),
             {"c.yaml:7: model.config.tie_word_embedding is false", "tie_word_embeddings"});
  keys.origins = {{"use_cache", {"c.yaml:8: model.config.use_cache", true}},
                  {"attention_dropout", {"c.yaml:9: model.config.attention_dropout", true}}};
  keys.object["use_cache"] = true;
  keys.object["attention_dropout"] = 0.0;
  CHECK(parse_model_config(keys).hidden_size == 64);
}

TEST_CASE("sizes that no model has are refused by name, before anything is counted", "[config]") {
  check_says(refusal({{"num_hidden_layers", 1000000000}}),
             {"num_hidden_layers is 1000000000", "from 1 to 16384"});
  check_says(refusal({{"vocab_size", 1000000000000}}), {"vocab_size is 1000000000000", "from 1 to 16777216"});
  check_says(refusal({{"hidden_size", 1 << 21}}), {"hidden_size", "1048576"});
  check_says(refusal({{"num_attention_heads", 1 << 17}}), {"num_attention_heads", "65536"});
  check_says(refusal({{"head_dim", 1 << 17}}), {"head_dim", "65536"});
  check_says(refusal({{"max_position_embeddings", int64_t{1} << 40}}),
             {"max_position_embeddings", "16777216"});
  check_says(refusal({{"hidden_size", 1e3}}), {"hidden_size is 1000.0", "whole number"});
  check_says(refusal({{"hidden_size", 1 << 20},
                      {"intermediate_size", 1 << 22},
                      {"num_hidden_layers", 16384},
                      {"num_attention_heads", 65536},
                      {"head_dim", 65536}}),
             {"num_hidden_layers 16384", "hidden_size 1048576", "8796093022208 parameters"});
  check_says(refusal({{"hidden_size", std::string(100000, 'x')}}), {"hidden_size is \"xxx"});
  CHECK(refusal({{"hidden_size", json(std::vector<int>(100000, 1))}}).size() < 300);
}

TEST_CASE("a config.json that is none is refused and named", "[config]") {
  const TemporaryFolder folder;
  const auto load = [&] { load_model_config(folder.path().string()); };
  check_says(message_of(load), {"config.json"});
  folder.write("config.json", "{\"model_type\": ");
  check_says(message_of(load), {"config.json", "JSON"});
  json wrong = minimal();
  wrong["num_hidden_layers"] = "4";
  folder.write("config.json", wrong.dump(1));
  check_says(message_of(load), {"config.json:6: num_hidden_layers is \"4\""});
  folder.write("config.json", "{\"model_type\": \"llama\", \"model_type\": \"llama\"}");
  check_says(message_of(load), {"config.json", "'model_type' is there twice"});
  folder.write("config.json", minimal().dump());
  CHECK(load_model_config(folder.path().string()).hidden_size == 64);
}

TEST_CASE("a configuration survives its way through Hugging Face's form", "[config]") {
  ModelConfig config = parse(with({{"num_key_value_heads", 2},
                                   {"head_dim", 20},
                                   {"rope_theta", 5e5},
                                   {"tie_word_embeddings", true},
                                   {"attention_bias", true},
                                   {"mlp_bias", true},
                                   {"rms_norm_eps", 1e-5},
                                   {"initializer_range", 0.1},
                                   {"max_position_embeddings", 99}}));
  const json object = to_hugging_face(config);
  const ModelConfig back = parse(object);
  CHECK(to_hugging_face(back) == object);
  CHECK(back.num_key_value_heads == 2);
  CHECK(back.head_dim == 20);
  CHECK(back.rope_theta == 5e5);
  CHECK(back.tie_word_embeddings);
  CHECK(back.qkv_bias);
  CHECK(back.output_bias);
  CHECK(back.mlp_bias);
  CHECK(back.max_position_embeddings == 99);
}

TEST_CASE("the goldens' configurations, as transformers writes them, are read", "[config][golden]") {
  const std::string golden = golden_file("");
  const ModelConfig untied = load_model_config(golden + "llama_untied");
  CHECK(untied.head_dim == 12);
  CHECK(untied.num_key_value_heads == 1);
  CHECK(untied.rope_theta == 500000.0);
  CHECK_FALSE(untied.tie_word_embeddings);
  CHECK(load_model_config(golden + "llama_tied").tie_word_embeddings);
  const ModelConfig bias = load_model_config(golden + "llama_bias");
  CHECK(bias.qkv_bias);
  CHECK(bias.output_bias);
  CHECK(bias.mlp_bias);
}
