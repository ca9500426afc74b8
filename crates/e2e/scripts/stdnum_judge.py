"""Judges the numbers of crates/detect/tests/data/ids.txt with python-stdnum.

Argument: the file. Prints each line on which the file and python-stdnum disagree, then how many
were judged. Exit code 1 when there is a disagreement or a rule it does not know.
"""

import importlib
import sys

MODULES = dict(
    pair.split("=")
    for pair in """
cn-resident-id=cn.ric br-cpf=br.cpf br-cnpj=br.cnpj es-dni=es.dni es-nie=es.nie it-codice-fiscale=it.codicefiscale
it-partita-iva=it.iva fr-nir=fr.nir fr-siren=fr.siren fr-siret=fr.siret de-idnr=de.idnr nl-bsn=nl.bsn
be-national-number=be.nn pl-pesel=pl.pesel pl-nip=pl.nip se-personnummer=se.personnummer fi-hetu=fi.hetu
no-fodselsnummer=no.fodselsnummer dk-cpr=dk.cpr ee-lt-personal-code=ee.ik lv-personal-code=lv.pvn bg-egn=bg.egn
ro-cnp=ro.cnp cz-sk-birth-number=cz.rc hr-oib=hr.oib si-rs-jmbg=si.emso gr-amka=gr.amka gr-afm=gr.vat pt-nif=pt.nif
ie-pps=ie.pps gb-nhs=gb.nhs ch-ahv=ch.ssn at-svnr=at.vnr tr-tckn=tr.tckimlik il-id=il.idnr za-id=za.idnr
in-aadhaar=in_.aadhaar in-pan=in_.pan kr-rrn=kr.rrn jp-my-number=jp.in_ th-id=th.pin my-nric=my.nric au-tfn=au.tfn
au-abn=au.abn nz-ird=nz.ird ca-sin=ca.sin us-ssn=us.ssn us-itin=us.itin us-ein=us.ein mx-curp=mx.curp cl-rut=cl.rut
ar-cuit=ar.cuit co-nit=co.nit ec-cedula=ec.ci pe-ruc=pe.ruc do-cedula=do.cedula is-kennitala=is_.kennitala
ua-rnokpp=ua.rntrc ru-inn=ru.inn de-vat=de.vat
""".split()
)


def main():
    judged, wrong = 0, 0
    with open(sys.argv[1], encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("#"):
                continue
            rule, sign, text = line.rstrip("\n").split("\t")
            module = importlib.import_module("stdnum." + MODULES[rule.removeprefix("pii/")])
            judged += 1
            if module.is_valid(text) != (sign == "+"):
                wrong += 1
                print(line, end="")
    print(f"{judged} judged")
    sys.exit(1 if wrong or judged < 400 else 0)


main()
