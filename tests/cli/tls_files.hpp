// Certificates of a cluster for tests of the command.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "tests/certificates.hpp"
#include "tests/cli/workbench.hpp"

namespace collie::test {

inline std::string made_folder(const std::string& path) {
  std::filesystem::create_directories(path);
  return path;
}

// In BENCH/tls: an authority, a node's and a trainer's certificate.
struct TlsFiles {
  std::string folder;
  Authority authority;
  CertificateFiles node, trainer;

  explicit TlsFiles(const Workbench& bench)
      : folder(made_folder(bench / "tls")),
        authority(folder, "ca"),
        node(authority.issue("node")),
        trainer(authority.issue("trainer")) {}

  // Of `collie-engine node`.
  std::vector<std::string> node_flags() const { return flags(node, authority.file()); }
  static std::vector<std::string> flags(const CertificateFiles& own, const std::string& ca) {
    return {"--certificate", own.certificate, "--key", own.key, "--ca", ca};
  }

  // Of a run.
  Settings settings() const { return settings(trainer, authority.file()); }
  static Settings settings(const CertificateFiles& own, const std::string& ca) {
    return {"cluster.tls.certificate=" + own.certificate, "cluster.tls.key=" + own.key,
            "cluster.tls.ca=" + ca};
  }
};

}  // namespace collie::test
