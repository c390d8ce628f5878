// The collie-engine command. Exit codes: 0 done, 1 the run failed, 2 the user's input was wrong, 130
// interrupted.
#include <sstream>

#include "app/commands.hpp"
#include "app/host.hpp"
#include "app/last_words.hpp"
#include "app/signals.hpp"
#include "app/standard_streams.hpp"
#include "base/error.hpp"
#include "base/limits.hpp"
#include "base/log.hpp"
#include "base/screen_log.hpp"
#ifdef COLLIE_HAS_CUDA
#include "kernels/cuda/backend.hpp"
#endif

namespace {

// CLI11's own message would only say that a sub-command is required.
void check_command_name(const CLI::App& app, const std::string& name) {
  if (name.empty() || name.front() == '-') return;
  std::string known;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    if (command->get_name() == name) return;
    known += (known.empty() ? "" : ", ") + command->get_name();
  }
  throw collie::UserError("unknown sub-command '{}'; known: {}", name, known);
}

int run(int argc, char** argv) {
#ifdef COLLIE_HAS_CUDA
  collie::set_gpu_backend(&collie::cuda_backend());
#endif
  CLI::App app{"Trains large language models with actors: every pipeline stage, loader and writer is one."};
  app.name("collie-engine");
  app.set_version_flag("--version", COLLIE_VERSION);
  app.require_subcommand(1);
  int exit_code = 0;
  collie::add_init_command(app, exit_code);
  collie::add_run_command(app, exit_code, argc > 0 ? argv[0] : "collie-engine");
  collie::add_eval_command(app, exit_code);
  collie::add_generate_command(app, exit_code);
  collie::add_export_command(app, exit_code);
  collie::add_node_command(app, exit_code);
  collie::add_plan_command(app, exit_code);
  collie::add_schedule_command(app, exit_code);
  collie::add_data_command(app, exit_code);
  collie::add_tokenizer_command(app, exit_code);
  check_command_name(app, argc > 1 ? argv[1] : "");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    std::ostringstream output, errors;
    const bool was_asked_for = app.exit(error, output, errors) == 0;  // --help, --version
    collie::standard_error().write(errors.str());
    collie::write_result(output.str());
    return was_asked_for ? 0 : 2;
  }
  return exit_code;
}

}  // namespace

int main(int argc, char** argv) {
  collie::open_standard_descriptors();
  collie::signals::install();
  collie::end_with_words();
  collie::log::write_to(collie::standard_error());
  int exit_code = 1;
  try {
    collie::prepare_for_limits();
    exit_code = run(argc, argv);
  } catch (const collie::UserError& error) {
    collie::log::error("{}", error.what());
    exit_code = 2;
  } catch (const collie::ReaderGone&) {  // for example "| head -1"
  } catch (...) {
    collie::log::error("{}", collie::reason_of_current_exception());
  }
  return collie::ended(exit_code);
}
