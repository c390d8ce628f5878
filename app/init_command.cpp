// collie-engine init: asks a few questions and writes a configuration with comments. Options answer questions
// beforehand.
#include <functional>
#include <iostream>
#include <memory>
#include <optional>

#include "app/commands.hpp"
#include "app/number_option.hpp"
#include "app/standard_streams.hpp"
#include "base/log.hpp"
#include "base/screen.hpp"
#include "io/files.hpp"
#include "models/model_config.hpp"
#include "plan/config_proposal.hpp"
#include "plan/data_guess.hpp"

namespace collie {
namespace {

constexpr int64_t most_of_any = 1'000'000'000;

struct InitOptions {
  std::string out = "config.yaml";
  std::optional<std::string> model, train, eval, adapter, epochs, steps, sequence_length, name;
  bool yes = false, overwrite = false;
};

struct Question {
  std::string option;                   // "--model"
  std::string text;                     // without its end
  std::optional<std::string> proposal;  // what an empty answer means; none: an answer is needed
};

// Answers come from options, or else from standard input, line by line.
class Interview {
 public:
  explicit Interview(bool ask) : ask_(ask) {}

  // Calls take(answer), which throws UserError if it is no good one. Then what was wrong is said, and the
  // question asked again, unless an option gave the answer.
  void put(const Question& question, const std::optional<std::string>& given,
           const std::function<void(const std::string& answer)>& take) const {
    if (given) return take(*given);
    if (!ask_) return take(proposal_of(question));
    for (;;) try {
        return take(answer_to(question));
      } catch (const UserError& error) {
        if (std::cin.eof()) throw;
        standard_error().write(std::string(error.what()) + "\n");
      }
  }

 private:
  static std::string proposal_of(const Question& question) {
    if (!question.proposal) throw UserError("{}: missing; {} is wanted", question.option, question.text);
    return *question.proposal;
  }

  static std::string answer_to(const Question& question) {
    const std::string proposal = question.proposal ? " [" + *question.proposal + "]" : "";
    standard_error().write(question.text + proposal + ":\n");
    std::string answer;
    if (!std::getline(std::cin, answer))
      throw UserError("standard input ended where {} was asked for: {}; an answer, or the option, is wanted",
                      question.option, question.text);
    return answer.empty() ? proposal_of(question) : answer;
  }

  bool ask_;
};

// Empty or "none": nothing.
std::optional<DataSource> source_or_none(const std::string& answer, const std::string& option) {
  if (answer.empty() || answer == "none") return std::nullopt;
  return guessed_source(answer, option);
}

std::string readable_model(const std::string& folder) {
  try {
    load_model_config(folder);
  } catch (const UserError& error) {
    throw UserError("--model: {}", error.what());
  }
  return folder;
}

std::string known_adapter(const std::string& answer) {
  if (answer != "none" && answer != "lora")
    throw UserError("--adapter: unknown adapter '{}'; known here: none, lora (docs/peft.md has more)",
                    shortened(answer));
  return answer;
}

int64_t number_answer(const std::string& option, const std::string& answer) {
  return parse_number_option<int64_t>(option, answer, 1, most_of_any);
}

Config asked_config(const InitOptions& options) {
  const Interview interview(!options.yes);
  ProposalWishes wishes;
  interview.put({"--model", "the model's folder, in the format of Hugging Face", {}}, options.model,
                [&](const std::string& answer) { wishes.model = readable_model(answer); });
  interview.put({"--train", "the data to train on: a file, a pattern, or a source", {}}, options.train,
                [&](const std::string& answer) { wishes.train = guessed_source(answer, "--train"); });
  interview.put({"--eval", "the data to evaluate on, or none", "none"}, options.eval,
                [&](const std::string& answer) { wishes.eval = source_or_none(answer, "--eval"); });
  interview.put({"--adapter", "train all weights (none), or an adapter (lora)", "none"}, options.adapter,
                [&](const std::string& answer) { wishes.adapter = known_adapter(answer); });
  if (options.steps)
    wishes.steps = number_answer("--steps", *options.steps);
  else
    interview.put({"--epochs", "how many times to go through the data", "1"}, options.epochs,
                  [&](const std::string& answer) { wishes.epochs = number_answer("--epochs", answer); });
  if (options.sequence_length)
    wishes.sequence_length = number_answer("--sequence-length", *options.sequence_length);
  if (options.name) wishes.name = *options.name;
  return proposed_config(wishes);
}

void write_proposal(const InitOptions& options) {
  const bool to_output = options.out == "-";
  if (!to_output && !options.overwrite && may_be_there(options.out))
    throw UserError("--out: {} is there; another name, or --overwrite, is wanted", shortened(options.out));
  const std::string text = proposal_text(asked_config(options));
  if (to_output) return write_result(text);
  write_file_durably(options.out, text);
  log::info("wrote {}; next: collie-engine plan {}", options.out, options.out);
}

}  // namespace

void add_init_command(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<InitOptions>();
  CLI::App* command = app.add_subcommand(
      "init", "Writes a configuration with comments for a model and data; asks for what no option says");
  command->add_option("--out", options->out, "The file to write; -: standard output")->capture_default_str();
  command->add_option("--model", options->model, "The model's folder");
  command->add_option("--train", options->train,
                      "Data to train on: a file, a pattern, or a source as in data.train");
  command->add_option("--eval", options->eval, "Data to evaluate on, or none");
  command->add_option("--adapter", options->adapter, "none: all weights are trained; lora");
  CLI::Option* epochs = command->add_option("--epochs", options->epochs, "Passes through the data");
  command->add_option("--steps", options->steps, "Optimizer steps, instead of epochs")->excludes(epochs);
  command->add_option("--sequence-length", options->sequence_length,
                      "Tokens of a window; default: as many as the model reads, at most 1024");
  command->add_option("--name", options->name, "The run's name; default: the model folder's");
  command->add_flag("--yes", options->yes, "Ask nothing; take what is proposed");
  command->add_flag("--overwrite", options->overwrite, "Replace the file");
  command->callback([options, &exit_code] {
    write_proposal(*options);
    exit_code = 0;
  });
}

}  // namespace collie
