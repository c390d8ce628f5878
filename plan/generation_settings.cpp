#include "plan/generation_settings.hpp"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/log.hpp"
#include "io/files.hpp"
#include "io/json_text.hpp"

namespace collie {

namespace {

using nlohmann::json;

// generation_config.json of a model's folder.
class GenerationFile {
 public:
  explicit GenerationFile(const Config& config) {
    if (config.model.path.empty() || config.model.from_scratch) return;
    file_ = (std::filesystem::path(config.model.path) / "generation_config.json").string();
    if (may_be_there(file_)) settings_ = parse_json_object(read_text_file(file_), file_);
  }

  const std::string& file() const { return file_; }

  bool samples() const {
    const json* found = find("do_sample");
    if (found != nullptr && !found->is_boolean()) refuse("do_sample", *found, "true or false");
    return found != nullptr && found->get<bool>();
  }

  // `in_range` says which numbers `wanted` describes.
  template <class Number, class InRange>
  Number number(const char* key, Number otherwise, const InRange& in_range, const char* wanted) const {
    const json* found = find(key);
    if (found == nullptr) return otherwise;
    const bool right = std::is_integral_v<Number> ? found->is_number_integer() : found->is_number();
    if (!right || !in_range(found->get<Number>())) refuse(key, *found, wanted);
    return found->get<Number>();
  }

  // Warns of settings that change what transformers generates, and that this engine lacks.
  void warn_of_others() const {
    static const json idle = {{"num_beams", 1},
                              {"no_repeat_ngram_size", 0},
                              {"bad_words_ids", nullptr},
                              {"sequence_bias", nullptr},
                              {"epsilon_cutoff", 0.0},
                              {"eta_cutoff", 0.0},
                              {"top_h", nullptr},
                              {"penalty_alpha", nullptr},
                              {"min_length", 0},
                              {"min_new_tokens", nullptr},
                              {"forced_bos_token_id", nullptr},
                              {"forced_eos_token_id", nullptr},
                              {"suppress_tokens", nullptr},
                              {"begin_suppress_tokens", nullptr},
                              {"exponential_decay_length_penalty", nullptr},
                              {"guidance_scale", nullptr},
                              {"stop_strings", nullptr},
                              {"watermarking_config", nullptr}};
    std::string ignored;
    for (const auto& [key, value] : idle.items())
      if (const json* found = find(key.c_str()); found != nullptr && *found != value)
        ignored += fmt::format("{}{} ({})", ignored.empty() ? "" : ", ", key, in_short(*found));
    if (!ignored.empty())
      log::warn("{}: generate does not have these settings, and leaves them out: {}", file_, ignored);
  }

 private:
  // Null if the key is missing or null.
  const json* find(const char* key) const {
    const auto found = settings_.find(key);
    return found == settings_.end() || found->is_null() ? nullptr : &*found;
  }

  [[noreturn]] void refuse(const char* key, const json& found, const char* wanted) const {
    throw UserError("{}: {}: found {}; {} is wanted", file_, key, in_short(found), wanted);
  }

  std::string file_;
  json settings_ = json::object();
};

constexpr auto above_0 = [](auto number) { return number > 0; };
constexpr auto above_0_to_1 = [](double number) { return number > 0 && number <= 1; };
constexpr auto from_0_to_1 = [](double number) { return number >= 0 && number <= 1; };

}  // namespace

Sampling sampling_of(const Config& config, const SamplingOptions& options) {
  const GenerationFile file(config);
  file.warn_of_others();
  Sampling sampling;
  sampling.seed = options.seed;
  sampling.repetition_penalty = file.number("repetition_penalty", 1.0, above_0, "a number above 0");
  const bool as_file = !options.temperature && file.samples();
  if (options.temperature) sampling.temperature = *options.temperature;
  if (as_file)
    sampling.temperature = file.number("temperature", 1.0, above_0, "a number above 0 (do_sample is true)");
  if (file.samples()) {
    sampling.top_k = file.number<int64_t>(
        "top_k", 50, [](int64_t count) { return count >= 0; }, "a whole number of at least 0");
    sampling.top_p = file.number("top_p", 1.0, above_0_to_1, "a number above 0, and at most 1");
    sampling.min_p = file.number("min_p", 0.0, from_0_to_1, "a number from 0 to 1");
    sampling.typical_p = file.number("typical_p", 1.0, above_0_to_1, "a number above 0, and at most 1");
  }
  if (options.top_k) sampling.top_k = *options.top_k;
  if (options.top_p) sampling.top_p = *options.top_p;
  if (as_file)
    log::info(
        "draws tokens as {} says (temperature {}, top_k {}, top_p {}); --temperature 0 takes the most likely "
        "ones",
        file.file(), sampling.temperature, sampling.top_k, sampling.top_p);
  return sampling;
}

}  // namespace collie
