import java.io.File;
import java.io.FileInputStream;
import java.io.InputStreamReader;
import java.util.Properties;
import org.rsna.ctp.objects.DicomObject;
import org.rsna.ctp.stdstages.anonymizer.AnonymizerStatus;
import org.rsna.ctp.stdstages.anonymizer.dicom.DAScript;
import org.rsna.ctp.stdstages.anonymizer.dicom.DICOMAnonymizer;

/** Anonymizer stage of stock CTP alone: SCRIPT TABLE OUT IN..., a line of name, result, PatientID for each. */
public class Anonymize {
    public static void main(String[] arguments) throws Exception {
        Properties script = DAScript.getInstance(new File(arguments[0])).toProperties();
        Properties table = new Properties();
        table.load(new InputStreamReader(new FileInputStream(arguments[1]), "UTF-8"));
        File out = new File(arguments[2]);
        for (int index = 3; index < arguments.length; index++) {
            File in = new File(arguments[index]);
            out.delete();
            AnonymizerStatus status = DICOMAnonymizer.anonymize(in, out, script, table, null, false, false);
            String id = status.isOK() ? new DicomObject(out).getPatientID() : "";
            System.out.println("RESULT " + in.getName() + " " + (status.isOK() ? "ok" : "quarantine") + " " + id);
        }
    }
}
