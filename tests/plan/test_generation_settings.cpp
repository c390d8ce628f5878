// What generation_config.json and options make of the way in which tokens are drawn.
#include "plan/generation_settings.hpp"

#include "base/error.hpp"
#include "tests/catch.hpp"
#include "tests/io/matchers.hpp"
#include "tests/io/temporary_folder.hpp"

using namespace collie;
using collie::test::contains;
using collie::test::TemporaryFolder;

namespace {

Sampling sampling_with(const std::string& file, const SamplingOptions& options = {},
                       bool from_scratch = false) {
  const TemporaryFolder model;
  if (!file.empty()) model.write("generation_config.json", file);
  Config config;
  config.model.path = model.path().string();
  config.model.from_scratch = from_scratch;
  return sampling_of(config, options);
}

std::string refusal_of_generation_config(const std::string& file) {
  try {
    sampling_with(file);
    return "no refusal";
  } catch (const UserError& error) {
    return error.what();
  }
}

constexpr const char* published =
    R"({"do_sample": true, "temperature": 0.6, "top_p": 0.9, "eos_token_id": [1, 2], "transformers_version": "5"})";

}  // namespace

TEST_CASE("without do_sample the most likely token is taken, whatever else the file says", "[plan]") {
  for (const char* file :
       {"", "{}", R"({"do_sample": false, "temperature": 0.6, "top_k": 20})", R"({"top_p": null})"}) {
    const Sampling sampling = sampling_with(file);
    CHECK(sampling.temperature == 0);
    CHECK(sampling.top_k == 0);
    CHECK(sampling.top_p == 1);
  }
  CHECK(sampling_with(R"({"repetition_penalty": 1.1})").repetition_penalty == 1.1);
}

TEST_CASE("with do_sample the file's settings count, and transformers' defaults", "[plan]") {
  Sampling sampling = sampling_with(published);
  CHECK(sampling.temperature == 0.6);
  CHECK(sampling.top_k == 50);
  CHECK(sampling.top_p == 0.9);
  CHECK(sampling.seed == 42);
  sampling = sampling_with(R"({"do_sample": true, "top_k": 0, "min_p": 0.05, "typical_p": 0.9})");
  CHECK(sampling.temperature == 1);
  CHECK(sampling.top_k == 0);
  CHECK(sampling.min_p == 0.05);
  CHECK(sampling.typical_p == 0.9);
  // A model from scratch has nothing of the folder that its shape came from.
  CHECK(sampling_with(published, {}, true).temperature == 0);
}

TEST_CASE("an option takes the place of what the file says, and temperature decides whether to draw",
          "[plan]") {
  SamplingOptions options;
  options.temperature = 0;
  CHECK(sampling_with(published, options).temperature == 0);
  options.temperature = 1.5;
  options.seed = 7;
  Sampling sampling = sampling_with(published, options);
  CHECK(sampling.temperature == 1.5);
  CHECK(sampling.top_k == 50);
  CHECK(sampling.seed == 7);
  options.top_k = 3;
  options.top_p = 0.5;
  sampling = sampling_with(published, options);
  CHECK(sampling.top_k == 3);
  CHECK(sampling.top_p == 0.5);
  sampling = sampling_with("{}", options);
  CHECK(sampling.temperature == 1.5);
  CHECK(sampling.top_k == 3);
}

TEST_CASE("what transformers refuses in generation_config.json is refused, naming the file and the key",
          "[plan]") {
  CHECK_THAT(refusal_of_generation_config(R"({"do_sample": "yes"})"),
             contains("generation_config.json: do_sample: found \"yes\"; true or false is wanted"));
  CHECK_THAT(refusal_of_generation_config(R"({"do_sample": true, "temperature": 0.0})"),
             contains("temperature: found 0.0; a number above 0"));
  CHECK_THAT(refusal_of_generation_config(R"({"do_sample": true, "top_k": 2.5})"),
             contains("top_k: found 2.5"));
  CHECK_THAT(refusal_of_generation_config(R"({"do_sample": true, "top_k": 99999999999999999999})"),
             contains("top_k: found"));
  CHECK_THAT(refusal_of_generation_config(R"({"do_sample": true, "top_p": 1.5})"),
             contains("top_p: found 1.5"));
  CHECK_THAT(refusal_of_generation_config(R"({"repetition_penalty": -1})"),
             contains("repetition_penalty: found -1"));
}
