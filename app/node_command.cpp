// collie-engine node --listen HOST:PORT [--secret-file FILE | --certificate FILE --key FILE --ca FILE]
// [--plugin FILE]...
#include <memory>

#include "actors/cluster.hpp"
#include "app/commands.hpp"
#include "app/host.hpp"
#include "io/plugins.hpp"

namespace collie {

void add_node_command(CLI::App& app, int& /*exit_code*/) {
  struct Options {
    std::string address;
    std::vector<std::string> plugins;
    ClusterSection cluster;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("node", "Holds ranks for runs that other processes start (run --nodes)");
  command->add_option("--listen", options->address, "HOST:PORT where trainers find this node")->required();
  command->add_option(
      "--secret-file", options->cluster.secret_file,
      "What trainers must know, where there are no certificates (else COLLIE_ENGINE_SECRET, else "
      "a file of the user's own)");
  command->add_option("--certificate", options->cluster.tls.certificate, "This node's certificate (PEM)");
  command->add_option("--key", options->cluster.tls.key, "Its private key (PEM)");
  command->add_option("--ca", options->cluster.tls.ca, "The authority of all nodes' certificates (PEM)");
  command
      ->add_option("--plugin", options->plugins,
                   "A shared library that runs may use (plugins); may be given again")
      ->allow_extra_args(false);
  command->callback([options] {
    for (const std::string& plugin : options->plugins) load_plugin(plugin, "--plugin");
    serve_as_node(parse_node_address(options->address, "--listen"), options->cluster);
  });
}

}  // namespace collie
