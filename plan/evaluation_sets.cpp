#include "plan/evaluation_sets.hpp"

#include <algorithm>
#include <memory>

#include "base/error.hpp"
#include "base/log.hpp"
#include "base/quote.hpp"
#include "base/sha256.hpp"
#include "io/appended_file.hpp"
#include "io/step_batches.hpp"
#include "io/unicode.hpp"
#include "io/utf8.hpp"
#include "plan/data_order.hpp"
#include "plan/prediction_files.hpp"
#include "runtime/answer_match.hpp"
#include "runtime/perplexity_set.hpp"

namespace collie {
namespace {

// What has been cut of a set's prompts.
struct CutPrompts {
  int64_t count = 0;
  std::string first;

  void add(const std::string& place) {
    if (count++ == 0) first = place;
  }
  void say(const EvalSet& set, int64_t positions) const {
    if (count > 0)
      log::warn(
          "eval.sets: {} prompts of the set {} are longer than the model's {} positions have room for, and "
          "lose their beginnings (the first at {})",
          count, set.name, positions, first);
  }
};

bool adds_bos_to(const EvalSet& set, const Tokenizer& tokenizer, const std::string& place) {
  const bool adds = set.source.add_bos == "auto" ? tokenizer.adds_bos() : set.source.add_bos == "true";
  if (adds && !tokenizer.bos()) throw UserError("{}: is true, but the tokenizer has no BOS token", place);
  return adds;
}

// --- perplexity

// The first documents of a data set.
std::shared_ptr<const Dataset> first_documents(std::shared_ptr<const Dataset> data, int64_t limit) {
  if (limit == 0 || data->document_count() <= limit) return data;
  std::vector<Document> documents;
  for (int64_t i = 0; i < limit; ++i) {
    const DocumentView view = data->document(i);
    documents.push_back(
        {{view.tokens.begin(), view.tokens.end()}, {view.targets.begin(), view.targets.end()}});
  }
  return std::make_shared<const Dataset>(std::vector<DocumentBlock>{make_block(documents)}, data->name(),
                                         fmt::format("{} of {}", limit, data->fingerprint()));
}

void plan_perplexity(const RunPlan& plan, const std::string& section, const OpenDataset& open,
                     PlannedSet& planned) {
  const std::vector<DataSource> sources = {source_of(planned.set)};
  planned.order = evaluation_order(first_documents(open(sources, section), planned.set.limit),
                                   plan.config.data.sequence_length, packing_of(plan.config.data, sources));
}

// --- classification by likelihood

size_t trimmed_size(const std::string& text) {
  size_t end = text.size();
  while (end > 0) {
    const size_t begin = previous_code_point(text, end);
    size_t at = begin;
    if (!is_white_space(next_code_point(text, at))) break;
    end = begin;
  }
  return end;
}

// The last tokens that fit the model's positions.
void cut_to_positions(int64_t positions, const std::string& place, LikelihoodOption& option,
                      CutPrompts& cut) {
  const int64_t surplus = static_cast<int64_t>(option.tokens.size()) - 1 - positions;
  if (surplus <= 0) return;
  if (option.first - surplus < 1)
    throw UserError("{}: an option of {} tokens; the model has {} positions", place,
                    static_cast<int64_t>(option.tokens.size()) - option.first, positions);
  option.tokens.erase(option.tokens.begin(), option.tokens.begin() + surplus);
  option.first -= surplus;
  cut.add(place);
}

void plan_likelihoods(const RunPlan& plan, const std::string& section, PlannedSet& planned) {
  const EvalSet& set = planned.set;
  const bool adds_bos = adds_bos_to(set, *plan.tokenizer, plan.config.file.place(section + ".add_bos"));
  CutPrompts cut;
  for (const ClassificationSample& sample : read_classification_samples(set, plan.config.file, section)) {
    LikelihoodSample& added = planned.likelihoods.emplace_back();
    added.label = sample.label;
    for (const std::string& option : sample.options) {
      LikelihoodOption tokens =
          tokenised_option(*plan.tokenizer, sample.prompt, set.delimiter + option, adds_bos, sample.place);
      tokens.bytes = static_cast<int64_t>(option.size());
      cut_to_positions(plan.model.positions(), sample.place, tokens, cut);
      added.options.push_back(std::move(tokens));
    }
  }
  cut.say(set, plan.model.positions());
}

// --- generated texts

// The tokens of a prompt: by itself, or as its source says.
std::vector<int32_t> tokens_of_prompt(const RunPlan& plan, const EvalSet& set, const std::string& prompt,
                                      const std::string& place) {
  const Tokenizer& tokenizer = *plan.tokenizer;
  std::vector<int32_t> tokens = tokenizer.encode(prompt, set.source.add_bos == "auto");
  if (set.source.add_bos == "true") tokens.insert(tokens.begin(), *tokenizer.bos());
  if (tokens.empty() && tokenizer.bos()) tokens.push_back(*tokenizer.bos());
  if (tokens.empty())
    throw UserError("{}: an empty prompt, and the tokenizer has no BOS token to start from", place);
  return tokens;
}

TextTask text_task(const RunPlan& plan, const EvalSet& set, const std::string& prompt,
                   const std::string& place, CutPrompts& cut) {
  TextTask task;
  task.prompt = tokens_of_prompt(plan, set, prompt, place);
  // The last token that is drawn needs no position; one is left for it to be drawn at.
  const int64_t positions = plan.model.positions();
  const int64_t most = std::min(positions - 1, positions - set.max_new_tokens + 1);
  if (const int64_t surplus = static_cast<int64_t>(task.prompt.size()) - most; surplus > 0) {
    task.prompt.erase(task.prompt.begin(), task.prompt.begin() + surplus);
    cut.add(place);
  }
  return task;
}

// What the options of a sample are told apart by.
std::vector<std::string> normalised_options(const ClassificationSample& sample) {
  std::vector<std::string> all;
  for (const std::string& option : sample.options) {
    all.push_back(normalised_answer(option));
    if (all.back().empty())
      throw UserError(
          "{}: the option '{}' has no letter or digit; a generated text cannot be compared with it",
          sample.place, shortened(option));
    if (std::count(all.begin(), all.end(), all.back()) > 1)
      throw UserError(
          "{}: the option '{}' is another's but for case and punctuation; a generated text cannot tell them "
          "apart",
          sample.place, shortened(option));
  }
  return all;
}

void plan_texts(const RunPlan& plan, const std::string& section, PlannedSet& planned) {
  const EvalSet& set = planned.set;
  const ConfigFile& file = plan.config.file;
  adds_bos_to(set, *plan.tokenizer, file.place(section + ".add_bos"));
  if (set.max_new_tokens >= plan.model.positions())
    throw UserError(
        "{}: is {}, but the model has {} positions, of which the prompt needs some; less is right",
        file.place(section + ".max_new_tokens"), set.max_new_tokens, plan.model.positions());
  CutPrompts cut;
  if (kind_of(set) == SetKind::generation) {
    for (GenerationSample& sample : read_generation_samples(set, file, section)) {
      TextTask& task = planned.texts.emplace_back(text_task(plan, set, sample.prompt, sample.place, cut));
      task.references = std::move(sample.references);
    }
  } else {
    for (const ClassificationSample& sample : read_classification_samples(set, file, section)) {
      TextTask& task = planned.texts.emplace_back(text_task(plan, set, sample.prompt, sample.place, cut));
      task.options = normalised_options(sample);
      task.label = sample.label;
    }
  }
  cut.say(set, plan.model.positions());
}

// --- all sets

std::vector<MetricConfig> metrics_of_set(const EvalSet& set) {
  if (!set.metrics.empty()) return set.metrics;
  switch (kind_of(set)) {
    case SetKind::perplexity:
      return {{"perplexity"}, {"loss"}};
    case SetKind::classification:
      return {{"accuracy"}};
    case SetKind::generation:
      return {{"exact_match"}};
  }
  return {};
}

bool generates_texts(const EvalSet& set) {
  return kind_of(set) == SetKind::generation ||
         (kind_of(set) == SetKind::classification && set.method == "text");
}

void add_numbers(const std::vector<int32_t>& numbers, Sha256& digest) {
  const auto count = static_cast<uint64_t>(numbers.size());
  digest.update(std::as_bytes(std::span(&count, 1)));
  digest.update(std::as_bytes(std::span(numbers)));
}

void add_text(const std::string& text, Sha256& digest) {
  const auto size = static_cast<uint64_t>(text.size());
  digest.update(std::as_bytes(std::span(&size, 1)));
  digest.update(std::as_bytes(std::span(text)));
}

std::string words_of(const OptionValue& value) {
  return std::visit([](const auto& each) { return nlohmann::json(each).dump(); }, value);
}

std::string fingerprint_of(const RunPlan& plan, const PlannedSet& planned) {
  const EvalSet& set = planned.set;
  Sha256 digest;
  std::string asked = fmt::format("{} {} {}", set.kind, set.method, set.score);
  if (generates_texts(set))
    asked += fmt::format(" {} {} {} {} {} {} {}", set.max_new_tokens, set.temperature, set.top_k, set.top_p,
                         set.min_p, set.repetition_penalty, set.temperature == 0 ? 0 : set.seed);
  for (const MetricConfig& metric : set.metrics) {
    asked += " " + metric.name;
    const OptionValues in_force = options_in_force(metric);
    for (const auto& [name, value] : in_force.all()) asked += " " + name + "=" + words_of(value);
  }
  add_text(asked, digest);
  for (const std::string& stop : set.stop) add_text(stop, digest);
  if (planned.order) {
    add_text(planned.order->dataset().fingerprint(), digest);
    add_text(fmt::format("{} {}", plan.config.data.sequence_length, plan.config.data.packing), digest);
  }
  for (const LikelihoodSample& sample : planned.likelihoods) {
    add_text(fmt::format("{} {}", sample.label, sample.options.size()), digest);
    for (const LikelihoodOption& option : sample.options) {
      add_text(fmt::format("{} {}", option.first, option.bytes), digest);
      add_numbers(option.tokens, digest);
    }
  }
  for (const TextTask& task : planned.texts) {
    add_text(fmt::format("{} {} {}", task.label, task.references.size(), task.options.size()), digest);
    add_numbers(task.prompt, digest);
    for (const auto* texts : {&task.references, &task.options})
      for (const std::string& text : *texts) add_text(text, digest);
  }
  return digest.finish();
}

std::shared_ptr<const PlannedSet> planned_set(const RunPlan& plan, size_t index, const OpenDataset& open) {
  auto planned = std::make_shared<PlannedSet>();
  planned->set = plan.config.eval.sets[index];
  planned->set.metrics = metrics_of_set(planned->set);
  const std::string section = fmt::format("eval.sets.{}", index);
  for (const MetricConfig& metric : planned->set.metrics)
    find_metric(metric.name, kind_of(planned->set), plan.config.file.place(section + ".metrics"));
  if (!generates_texts(planned->set) && plan.config.train.loss != "cross_entropy")
    throw UserError(
        "{}: is {}, but the set {} is of likelihoods, which are cross-entropies; a set of texts "
        "that are generated, or cross_entropy, is right",
        plan.config.file.place("train.loss"), plan.config.train.loss, planned->set.name);
  if (generates_texts(planned->set))
    plan_texts(plan, section, *planned);
  else if (kind_of(planned->set) == SetKind::classification)
    plan_likelihoods(plan, section, *planned);
  else
    plan_perplexity(plan, section, open, *planned);
  planned->fingerprint = fingerprint_of(plan, *planned);
  return planned;
}

OptionScore score_of_set(const EvalSet& set) {
  if (set.score == "mean") return OptionScore::mean;
  return set.score == "bytes" ? OptionScore::bytes : OptionScore::sum;
}

TextSettings text_settings(const RunPlan& plan, const EvalSet& set) {
  TextSettings settings;
  settings.name = set.name;
  settings.max_new_tokens = set.max_new_tokens;
  settings.sampling.temperature = set.temperature;
  settings.sampling.top_k = set.top_k;
  settings.sampling.top_p = set.top_p;
  settings.sampling.min_p = set.min_p;
  settings.sampling.repetition_penalty = set.repetition_penalty;
  settings.sampling.seed = set.seed;
  settings.stop = set.stop;
  settings.stop_ids = plan.stop_ids;
  settings.at_once = set.batch_size;
  settings.positions = plan.model.positions();
  return settings;
}

std::unique_ptr<SetCore> make_set_core(const RunPlan& plan, const PlannedSet& planned) {
  const EvalSet& set = planned.set;
  const int64_t micro_batch_size = plan.config.train.micro_batch_size;
  if (planned.order) return std::make_unique<PerplexitySet>(planned.order, micro_batch_size, set.metrics);
  if (generates_texts(set))
    return std::make_unique<TextSet>(planned.texts, text_settings(plan, set), plan.tokenizer, set.metrics);
  return std::make_unique<LikelihoodSet>(set.name, planned.likelihoods, score_of_set(set),
                                         micro_batch_size * plan.config.data.sequence_length, set.metrics);
}

}  // namespace

LikelihoodOption tokenised_option(const Tokenizer& tokenizer, const std::string& prompt,
                                  const std::string& option, bool adds_bos, const std::string& place) {
  const size_t end = trimmed_size(prompt);
  const std::vector<int32_t> before = tokenizer.encode(prompt.substr(0, end), false);
  const std::vector<int32_t> whole = tokenizer.encode(prompt + option, false);
  LikelihoodOption result;
  if (adds_bos) result.tokens.push_back(*tokenizer.bos());
  if (!adds_bos && before.empty()) {
    const std::optional<int32_t> start = tokenizer.bos() ? tokenizer.bos() : tokenizer.eos();
    if (!start)
      throw UserError("{}: an empty prompt, and the tokenizer has neither BOS nor EOS to start from", place);
    result.tokens.push_back(*start);
  }
  result.first = static_cast<int64_t>(result.tokens.size() + before.size());
  result.tokens.insert(result.tokens.end(), whole.begin(), whole.end());
  result.bytes = static_cast<int64_t>(option.size());
  if (static_cast<int64_t>(result.tokens.size()) <= result.first)
    throw UserError("{}: no token is the option's own ('{}') behind the prompt; another delimiter would help",
                    place, shortened(option));
  return result;
}

std::vector<std::shared_ptr<const PlannedSet>> plan_evaluation_sets(const RunPlan& plan,
                                                                    const OpenDataset& open) {
  std::vector<std::shared_ptr<const PlannedSet>> all;
  for (size_t i = 0; i < plan.config.eval.sets.size(); ++i) all.push_back(planned_set(plan, i, open));
  return all;
}

bool has_evaluation(const RunPlan& plan) {
  return plan.evaluation_order != nullptr || !plan.evaluation_sets.empty();
}

std::unique_ptr<Evaluation> make_evaluation(const RunPlan& plan) {
  std::unique_ptr<EvaluatorCore> losses;
  if (plan.evaluation_order)
    losses = std::make_unique<EvaluatorCore>(plan.evaluation_order, plan.config.train.micro_batch_size);
  std::vector<Evaluation::Set> sets;
  for (const auto& planned : plan.evaluation_sets) {
    Evaluation::Set& set = sets.emplace_back(planned->set.name, make_set_core(plan, *planned));
    if (plan.folder && planned->set.predictions)
      set.keep = [folder = plan.folder, name = set.name](int64_t step, const std::string& lines) {
        keep_predictions(*folder, name, step, lines);
      };
    if (!plan.predictions_file.empty())
      set.keep = [file = plan.predictions_file](int64_t, const std::string& lines) {
        AppendedFile(file).append(lines);
      };
  }
  return std::make_unique<Evaluation>(std::move(losses), std::move(sets));
}

}  // namespace collie
