//! The way from one `EncryptionConfiguration` to another, file by file: a KMS takes over from a local
//! key, and no API server ever meets what it cannot read.

use kms_envelope::kubernetes::EncryptionConfiguration;
use kms_envelope::kubernetes::plan::{Action, PlanRequest, Purpose, plan};

const FROM: &str = "
apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
  - resources: [secrets]
    providers:
      - aesgcm: {keys: [{name: key1, secret: AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=}]}
      - identity: {}
";
const TO: &str = "
apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
  - resources: [secrets]
    providers:
      - kms: {apiVersion: v2, name: vault, endpoint: \"unix:///run/kms.sock\"}
      - identity: {}
";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let from = EncryptionConfiguration::parse(FROM)?;
    let to = EncryptionConfiguration::parse(TO)?;
    // Without a census every provider of the first file may have objects.
    let plan = plan(&PlanRequest::new(Some(&from), &to));
    for objection in &plan.objections {
        println!("refused: {objection}");
    }
    for (number, step) in plan.steps.iter().enumerate() {
        println!("{}. {}", number + 1, step.purpose.as_str());
        match &step.action {
            Action::Configure(file) => println!("   a file of {} bytes", file.text.expose().len()),
            Action::Migrate(migration) => println!("   kms migrate: {:?}", migration.resources),
            _ => {}
        }
        for check in &step.checks {
            println!("   before the next: {check:?}");
        }
    }
    let purposes: Vec<_> = plan.steps.iter().map(|step| step.purpose).collect();
    let expected = [
        Purpose::AddReaders,
        Purpose::SwitchWriter,
        Purpose::Migrate,
        Purpose::DropReaders,
    ];
    assert_eq!(purposes, expected);
    Ok(())
}
