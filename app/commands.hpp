// The sub-commands of collie-engine, one source file each. Each function adds a sub-command to `app`. The
// sub-command's callback runs it, writes the result to standard output and sets `exit_code`, which must
// outlive `app`. Wrong input is thrown as UserError.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace collie {

// collie-engine init: writes a first configuration for a model and data.
void add_init_command(CLI::App& app, int& exit_code);
// collie-engine run: runs a training run. `program` is how the command was called, for messages.
void add_run_command(CLI::App& app, int& exit_code, const std::string& program);
// collie-engine eval: prints one JSON object of metrics.
void add_eval_command(CLI::App& app, int& exit_code);
// collie-engine generate: generates text from a model folder or a run's checkpoint.
void add_generate_command(CLI::App& app, int& exit_code);

// collie-engine export: writes a run's checkpoint, or a model, to a Hugging Face folder.
void add_export_command(CLI::App& app, int& exit_code);
// collie-engine node: holds ranks for runs of other processes.
void add_node_command(CLI::App& app, int& exit_code);
// collie-engine plan: shows the resources that a run would take.
void add_plan_command(CLI::App& app, int& exit_code);
// collie-engine schedule: prints a pipeline schedule as CSV, text or SVG.
void add_schedule_command(CLI::App& app, int& exit_code);

// collie-engine data: shows what a run's data are.
void add_data_command(CLI::App& app, int& exit_code);
// collie-engine tokenizer: makes tokenizers, uses them and looks at them.
void add_tokenizer_command(CLI::App& app, int& exit_code);

}  // namespace collie
